#!/usr/bin/env bash
# Builds the consumer project against cistern in every way it can be used: check.sh [WORK_DIRECTORY]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source_directory=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
rm -rf "$work"
mkdir -p "$work"
work=$(cd "$work" && pwd)
export CMAKE_GENERATOR=Ninja

if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi

build_and_test() {  # NAME CMAKE_ARGUMENT...
  local name=$1
  shift
  echo "--- consumer: $name"
  cmake -S "$here" -B "$work/$name" -DCMAKE_BUILD_TYPE=Release "$@" >"$work/$name.log" || { cat "$work/$name.log"; exit 1; }
  cmake --build "$work/$name" >>"$work/$name.log" || { cat "$work/$name.log"; exit 1; }
  ctest --test-dir "$work/$name" --output-on-failure --no-tests=error
}

with_pkg_config() {  # KIND PREFIX COMPILER_FLAG...
  local kind=$1 prefix=$2 flags=()
  shift 2
  echo "--- consumer: pkg-config, $kind library"
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name cistern.pc)")
  [ "$kind" = static ] && flags=(--static)
  # shellcheck disable=SC2046 # The flags are words.
  "${CXX:-c++}" -std=c++20 "$@" "$here/main.cpp" -o "$work/pkg-config-$kind" \
    $(pkg-config "${flags[@]}" --cflags --libs cistern)
  LD_LIBRARY_PATH=$(pkg-config --variable=libdir cistern) "$work/pkg-config-$kind" >/dev/null
}

install_library() {  # NAME CMAKE_ARGUMENT...
  local name=$1
  shift
  cmake -S "$source_directory" -B "$work/build-$name" -DCMAKE_BUILD_TYPE=Release -DCISTERN_BUILD_TESTS=OFF \
    -DCISTERN_BUILD_BENCHMARKS=OFF -DCMAKE_INSTALL_PREFIX="$work/first-$name" "$@" >/dev/null
  cmake --build "$work/build-$name"
  cmake --install "$work/build-$name" >/dev/null
  # An installed tree may be moved.
  mv "$work/first-$name" "$work/prefix-$name"
}

for kind in static shared; do
  shared=OFF
  [ $kind = shared ] && shared=ON
  # Warnings are errors as in the release preset, so that ccache knows what that has compiled.
  install_library $kind -DBUILD_SHARED_LIBS=$shared -DCISTERN_WARNINGS_AS_ERRORS=ON
  if grep -rIl -e "$source_directory" -e "$work" -e cistern_build_flags "$work/prefix-$kind"; then
    echo "the files above name the build they come from" >&2
    exit 1
  fi
  build_and_test "find_package-$kind" -DCMAKE_PREFIX_PATH="$work/prefix-$kind"
  if command -v pkg-config >/dev/null; then with_pkg_config $kind "$work/prefix-$kind"; fi
done

echo "--- consumer: what doesn't fit the shared library is refused"
python3 -B "$source_directory/test/user_builds/user_builds.py" mismatches --include "$work/prefix-shared/include" \
  --library "$(find "$work/prefix-shared" -name libcistern.so)" -- "${CXX:-c++}" -std=c++20

# Both that must be the same in a program and its library: the package says the one, its user the other.
debug_flags=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS=-D_GLIBCXX_DEBUG)
install_library debug -DCISTERN_CHECKED=ON -DCMAKE_UNITY_BUILD=ON "${debug_flags[@]}"
build_and_test find_package-debug -DCMAKE_PREFIX_PATH="$work/prefix-debug" "${debug_flags[@]}"
if command -v pkg-config >/dev/null; then with_pkg_config static "$work/prefix-debug" -D_GLIBCXX_DEBUG; fi

# A user's own project may be built so, and with it what is a part of it.
build_and_test add_subdirectory -DCISTERN_SOURCE_DIRECTORY="$source_directory" -DCMAKE_UNITY_BUILD=ON

echo "--- a version that isn't there is refused"
cmake -S "$here" -B "$work/refused" -DCMAKE_PREFIX_PATH="$work/prefix-static" -DCISTERN_VERSION_WANTED=9.0 \
  >"$work/refused.log" 2>&1 && { echo "find_package(cistern 9.0) was satisfied" >&2; exit 1; }
grep -q "compatible with requested version \"9.0\"" "$work/refused.log" || { cat "$work/refused.log"; exit 1; }
echo "every consumer builds and runs"
