// A book of orders, as an exchange keeps it: they come, and go in no order. docs/measuring.md asks whether it
// wants a pool.
//
// order_book [pool] [EVENTS] prints what is in the book in the end, and the milliseconds of processor time
// that it took. With the word "pool" all nodes lie on one; the book is the same. Ends with 0 if the book
// agrees with itself.
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <list>
#include <map>
#include <memory_resource>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

struct order {
  std::uint64_t number;
  int price;
  unsigned quantity;
};

class order_book {
 public:
  explicit order_book(std::pmr::memory_resource* memory) : levels_(memory), by_number_(memory) {}

  void add(const order& one);
  void cancel(std::uint64_t number);

  [[nodiscard]] std::size_t orders() const noexcept { return by_number_.size(); }
  [[nodiscard]] std::uint64_t quantity() const;

 private:
  using level = std::pmr::list<order>;  // First come, first served.

  std::pmr::map<int, level> levels_;  // By price.
  std::pmr::unordered_map<std::uint64_t, level::iterator> by_number_;
};

[[gnu::noinline]] void order_book::add(const order& one) {
  level& orders = levels_[one.price];
  by_number_.emplace(one.number, orders.insert(orders.end(), one));
}

[[gnu::noinline]] void order_book::cancel(std::uint64_t number) {
  const auto found = by_number_.find(number);
  if (found == by_number_.end()) return;
  const auto at = levels_.find(found->second->price);
  at->second.erase(found->second);
  if (at->second.empty()) levels_.erase(at);
  by_number_.erase(found);
}

std::uint64_t order_book::quantity() const {
  std::uint64_t sum = 0;
  for (const auto& [price, orders] : levels_) {
    for (const order& each : orders) sum += each.quantity;
  }
  return sum;
}

/// Of so many orders open at a time one is cancelled, and another one comes.
bool trade(int events, std::pmr::memory_resource* memory) {
  constexpr std::size_t most_open = 20'000;
  order_book book(memory);
  std::mt19937_64 random(1);
  std::vector<order> open;
  std::uint64_t expected = 0;
  for (int i = 0; i < events; ++i) {
    const std::uint64_t dice = random();
    const order one{static_cast<std::uint64_t>(i), 10'000 + static_cast<int>(dice % 400),
                    1 + static_cast<unsigned>(dice >> 60)};
    expected += one.quantity;
    if (open.size() < most_open) {
      open.push_back(one);
    } else {
      order& gone = open[(dice >> 20) % most_open];
      expected -= gone.quantity;
      book.cancel(gone.number);
      gone = one;
    }
    book.add(one);
  }
  std::cout << book.orders() << " orders for " << book.quantity() << '\n';
  return book.quantity() == expected && book.orders() == open.size();
}

}  // namespace

int main(int count, char** arguments) {
  const bool on_pool = count > 1 && arguments[1] == std::string("pool");
  const int events = count > 1 + on_pool ? std::atoi(arguments[1 + on_pool]) : 100'000;
  cistern::unsynchronized_pool_resource pool;
  const std::clock_t begun = std::clock();
  const bool is_right = trade(events, on_pool ? &pool : std::pmr::new_delete_resource());
  std::cerr << (std::clock() - begun) * 1000 / CLOCKS_PER_SEC << " ms\n";
  return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}
