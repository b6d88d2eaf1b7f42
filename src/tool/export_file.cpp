#include "export_file.hpp"

#include <stdexcept>

namespace cistern::tool {

export_file::export_file(const std::string& path) : path_(path) {
  if (path_.empty()) return;
  out_.open(path_);
  if (!out_) throw std::runtime_error("cannot write " + path_);
}

void export_file::write(const std::string& text) {
  if (path_.empty()) return;
  if (!(out_ << text << std::flush)) throw std::runtime_error("cannot write " + path_);
}

}  // namespace cistern::tool
