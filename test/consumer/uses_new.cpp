// Something that allocates, in a library of its own.
#include <memory>
#include <string>

std::unique_ptr<std::string> make_text() {
  return std::make_unique<std::string>(1000, 'x');
}
