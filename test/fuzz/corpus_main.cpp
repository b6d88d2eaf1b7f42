// Runs a fuzz body over the files and folders of a corpus: the unit test that a fuzz target is without a
// fuzzer. `--random SEED COUNT` instead of a name: over so many programs made up from the seed and those
// after it.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace {

void run_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + path.string());
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

std::size_t run_all(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return run_file(path), 1;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (!entry.is_regular_file()) continue;
    try {
      run_file(entry.path());
    } catch (const std::exception&) {
      std::fprintf(stderr, "failing input: %s\n", entry.path().c_str());
      throw;
    }
    ++files;
  }
  return files;
}

std::size_t run_random(std::uint32_t seed, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i, ++seed) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> bytes(random() % 4'096);
    for (std::uint8_t& each : bytes) each = static_cast<std::uint8_t>(random());
    try {
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    } catch (const std::exception&) {
      std::fprintf(stderr, "failing program: --random %u 1\n", seed);
      throw;
    }
  }
  return count;
}

}  // namespace

int main(int count, char** arguments) try {
  std::size_t files = 0;
  for (int i = 1; i < count; ++i) {
    if (std::string_view(arguments[i]) == "--random" && i + 2 < count) {
      files +=
          run_random(static_cast<std::uint32_t>(std::stoul(arguments[i + 1])), std::stoul(arguments[i + 2]));
      i += 2;
    } else {
      files += run_all(arguments[i]);
    }
  }
  std::printf("%zu inputs\n", files);
  return files == 0 ? 1 : 0;  // an empty corpus tests nothing
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
