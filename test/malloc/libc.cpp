// glibc's and libstdc++'s own blocks: functions that allocate for their caller, or free what their caller
// allocated.
#include <array>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include "contract.hpp"
#include <dirent.h>
#include <dlfcn.h>
#include <glob.h>
#include <malloc.h>
#include <netdb.h>
#include <regex.h>
#include <unistd.h>
#include <wordexp.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

CONTRACT_CASE(getline_grows_our_block) {
  std::FILE* const file = std::tmpfile();
  MUST(file != nullptr);
  const std::string line(100'000, 'y');
  MUST(std::fprintf(file, "short\n%s\n", line.c_str()) > 0);
  std::rewind(file);
  auto bytes = std::size_t{4};
  auto* text = static_cast<char*>(malloc(bytes));
  MUST(getline(&text, &bytes, file) == 6);
  MUST(getline(&text, &bytes, file) == static_cast<ssize_t>(line.size() + 1));
  MUST(malloc_usable_size(text) >= bytes);
  MUST(line.compare(0, line.size(), text, line.size()) == 0);
  free(text);
  MUST(std::fclose(file) == 0);
}

CONTRACT_CASE(strings_made_by_the_c_library_are_freed) {
  char* text = nullptr;
  MUST(asprintf(&text, "%s-%d-%10000d", "text", 42, 7) > 10'000);
  text = static_cast<char*>(realloc(text, 50'000));
  MUST(text != nullptr && std::strncmp(text, "text-42-", 8) == 0);
  free(text);
  text = strdup("a string");
  MUST(std::strcmp(text, "a string") == 0);
  free(text);
  text = strndup("another string", 7);
  MUST(std::strcmp(text, "another") == 0);
  free(text);
  text = realpath("/proc/self/../../usr", nullptr);
  MUST(text != nullptr && std::strcmp(text, "/usr") == 0);
  free(text);
  text = getcwd(nullptr, 0);
  MUST(text != nullptr);
  free(text);
  std::size_t length = 0;
  std::FILE* const stream = open_memstream(&text, &length);
  for (int i = 0; i < 10'000; ++i) std::fprintf(stream, "%d,", i);
  MUST(std::fclose(stream) == 0);
  MUST(length > 40'000);
  free(text);
}

CONTRACT_CASE(functions_of_the_c_library_that_allocate) {
  dirent** names = nullptr;
  const int count = scandir("/usr", &names, nullptr, alphasort);
  MUST(count > 2);
  for (int i = 0; i < count; ++i) free(names[i]);
  free(names);

  glob_t matches{};
  MUST(glob("/usr/*", 0, nullptr, &matches) == 0);
  MUST(matches.gl_pathc > 1);
  globfree(&matches);

  regex_t expression{};
  MUST(regcomp(&expression, "(a|b)*c{2,50}[x-z]+", REG_EXTENDED) == 0);
  MUST(regexec(&expression, "ababccccxyz", 0, nullptr, 0) == 0);
  regfree(&expression);

  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* addresses = nullptr;
  MUST(getaddrinfo("127.0.0.1", "80", &hints, &addresses) == 0);
  freeaddrinfo(addresses);

  for (int i = 0; i < 200; ++i) {
    const std::string name = "CONTRACT_" + std::to_string(i);
    MUST(setenv(name.c_str(), std::string(static_cast<std::size_t>(i) * 10, 'v').c_str(), 1) == 0);
  }
  MUST(std::strlen(getenv("CONTRACT_199")) == 1990);
  clearenv();

  const locale_t locale = newlocale(LC_ALL_MASK, "C.UTF-8", nullptr);
  if (locale != nullptr) freelocale(locale);
  std::FILE* const pipe = popen("echo popen", "r");
  MUST(pipe != nullptr);
  std::array<char, 64> text{};
  MUST(std::fgets(text.data(), text.size(), pipe) != nullptr);
  MUST(pclose(pipe) == 0);
  // qsort of much data takes memory from malloc.
  std::array<int, 30'000> numbers{};
  contract::random_numbers random(1);
  for (int& number : numbers) number = static_cast<int>(random.below(1'000'000));
  std::qsort(numbers.data(), numbers.size(), sizeof(int), [](const void* a, const void* b) {
    return *static_cast<const int*>(a) - *static_cast<const int*>(b);
  });
  for (std::size_t i = 1; i < numbers.size(); ++i) MUST(numbers[i - 1] <= numbers[i]);
}

// Blocks that came from glibc's own malloc, as those that were obtained before a switch.
CONTRACT_CASE(blocks_of_glibc_are_taken) {
  if (contract::is_checked()) contract::skip("a checked build reports them");
  auto* const glibc_malloc = reinterpret_cast<void* (*)(std::size_t)>(dlsym(RTLD_DEFAULT, "__libc_malloc"));
  if (glibc_malloc == nullptr) contract::skip("no __libc_malloc here");
  for (const std::size_t bytes : std::initializer_list<std::size_t>{10, 100, 5000, 100'000, 1'000'000}) {
    free(glibc_malloc(bytes));
    void* const block = glibc_malloc(bytes);
    fill(block, bytes, 1);
    MUST(malloc_usable_size(block) >= bytes);
    void* const grown = realloc(block, 2 * bytes);
    MUST(grown != nullptr);
    MUST(is_filled(grown, bytes, 1));
    free(grown);
  }
}
