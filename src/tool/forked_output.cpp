#include "forked_output.hpp"

#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "../base/posix_call.hpp"
#include "child_output.hpp"
#include <unistd.h>

namespace cistern::tool {
namespace {

[[noreturn]] void do_work(int output, const std::function<void(std::ostream&)>& work) {
  try {
    std::ostringstream text;
    work(text);
    const std::string all = text.str();
    for (std::size_t done = 0; done < all.size();) {
      const ssize_t put =
          detail::without_interruption([&] { return ::write(output, all.data() + done, all.size() - done); });
      if (put < 0) ::_exit(1);
      done += static_cast<std::size_t>(put);
    }
    ::_exit(0);
  } catch (const std::exception& error) {
    std::cerr << "cistern-trace: " << error.what() << '\n';
  }
  ::_exit(1);
}

}  // namespace

std::string forked_output(const std::function<void(std::ostream&)>& work) {
  child_output child = output_of_child([&](int output) { do_work(output, work); });
  if (child.status != 0) throw std::runtime_error("a process that was to measure has failed");
  return std::move(child.text);
}

}  // namespace cistern::tool
