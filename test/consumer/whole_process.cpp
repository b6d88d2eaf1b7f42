// A program that knows nothing of the pool under its operator new, and uses another pool of the library
// beside it.
#include <cistern/synchronized_pool_resource.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

std::unique_ptr<std::string> make_text();

// The heap's blocks of 48 bytes lie 48 apart; in the C library they take 64.
static bool comes_from_the_heap() {
  std::vector<char*> blocks(100);
  for (char*& block : blocks) block = static_cast<char*>(::operator new(48));
  int neighbours = 0;
  for (std::size_t i = 1; i < blocks.size(); ++i) neighbours += blocks[i] - blocks[i - 1] == 48 ? 1 : 0;
  for (char* block : blocks) ::operator delete(block);
  return neighbours > 50;
}

int main() {
  if (!comes_from_the_heap()) return 1;
  cistern::synchronized_pool_resource pool;
  std::pmr::map<int, std::pmr::string> pooled(&pool);
  std::map<int, std::string> plain;
  for (int i = 0; i < 1000; ++i)
    pooled[i] = (plain[i] = "a text that is too long for the string itself").c_str();
  return make_text()->size() == 1000 && pooled.size() == plain.size() ? 0 : 2;
}
