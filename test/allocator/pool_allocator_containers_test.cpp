// pool_allocator in every standard container, and in what else of the standard library and Boost takes an
// allocator.
#include <cistern/pool_allocator.hpp>
#include <cistern/source_location.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <forward_list>
#include <functional>
#include <future>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <queue>
#include <regex>
#include <scoped_allocator>
#include <set>
#include <sstream>
#include <stack>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <boost/circular_buffer.hpp>
#include <boost/container/flat_map.hpp>
#include <boost/container/list.hpp>
#include <boost/container/small_vector.hpp>
#include <boost/container/stable_vector.hpp>
#include <boost/container/vector.hpp>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/allocator_subjects.hpp"

using cistern::pool_allocator;
using cistern::test_support::synchronized_subject;
using cistern::test_support::unsynchronized_subject;
using cistern::test_support::virtual_subject;

// The containers see the same of all resources: the larger part of the work is done with one of them.
using one_subject = boost::mpl::list<unsynchronized_subject>;
using subjects = boost::mpl::list<unsynchronized_subject, synchronized_subject, virtual_subject>;

namespace {

// A value that allocates nothing itself, so that every byte in use is the container's.
struct item {
  int number = 0;
  item() = default;
  item(int n) : number(n) {}  // NOLINT(google-explicit-constructor)
  friend auto operator<=>(const item&, const item&) = default;
};

}  // namespace

template <>
struct std::hash<item> {
  std::size_t operator()(const item& i) const noexcept { return static_cast<std::size_t>(i.number); }
};

namespace {

constexpr int many = 500;

// One way to fill each kind of container with `count` different values.
template <class Container>
void fill(Container& c, int count, int first = 0) {
  for (int i = first; i < first + count; ++i) {
    if constexpr (requires { typename Container::mapped_type; }) {
      c.emplace(i, i);
    } else if constexpr (requires { c.emplace_back(i); }) {
      c.emplace_back(static_cast<typename Container::value_type>(i));
    } else if constexpr (requires { c.push_back('x'); }) {
      c.push_back(static_cast<typename Container::value_type>('a' + i % 26));
    } else if constexpr (requires { c.emplace_front(i); }) {
      c.emplace_front(i);
    } else {
      c.emplace(i);
    }
  }
}

template <class Container>
std::size_t size_of(const Container& c) {
  return static_cast<std::size_t>(std::distance(c.begin(), c.end()));
}

// Equality of containers, for bool and order alike.
template <class Container>
bool same(const Container& a, const Container& b) {
  return a == b;
}

// Like BOOST_TEST, in a hundredth of the code: these templates are compiled for dozens of containers.
void expect(bool condition, cistern::source_location where = cistern::source_location::current()) {
  BOOST_TEST(condition, "line " << where.line());
}

// What all containers have: construction, copies, moves, assignment and swap, with equal and unequal
// allocators.
template <class Container, class Subject>
void check_container(const char* name) {
  using allocator = typename Container::allocator_type;
  BOOST_TEST_CONTEXT(name) {
    Subject one;
    Subject other;
    const allocator a(one.template get<typename allocator::value_type>());
    const allocator b(other.template get<typename allocator::value_type>());
    {
      Container c(a);
      expect((c.get_allocator() == a));
      fill(c, many);
      expect(one.holds_something());

      const Container copy(c);
      expect(same(copy, c));
      expect((copy.get_allocator() == a));  // a copy keeps the pool
      expect(!other.holds_something());

      const Container copy_elsewhere(c, b);
      expect(same(copy_elsewhere, c));
      expect((copy_elsewhere.get_allocator() == b));
      expect(other.holds_something());

      Container moved(std::move(c));
      expect(same(moved, copy));
      expect((moved.get_allocator() == a));

      Container moved_within(std::move(moved), a);
      expect(same(moved_within, copy));
      Container moved_elsewhere(std::move(moved_within), b);
      expect(same(moved_elsewhere, copy));
      expect((moved_elsewhere.get_allocator() == b));

      Container assigned(a);
      fill(assigned, 3, 10'000);
      assigned = moved_elsewhere;  // unequal: keeps its own pool
      expect((assigned.get_allocator() == a));
      expect(same(assigned, copy));
      Container move_assigned(a);
      fill(move_assigned, 3, 10'000);
      move_assigned = std::move(moved_elsewhere);  // unequal: element by element
      expect((move_assigned.get_allocator() == a));
      expect(same(move_assigned, copy));
      Container move_assigned_within(a);
      fill(move_assigned_within, 3, 10'000);
      move_assigned_within = std::move(move_assigned);  // equal: takes over
      expect(same(move_assigned_within, copy));
      assigned = *&assigned;
      expect(same(assigned, copy));

      Container small(a);
      fill(small, 2, 20'000);
      using std::swap;
      swap(small, move_assigned_within);
      expect(same(small, copy));
      expect(size_of(move_assigned_within) == 2U);
      small.clear();
      fill(small, many);
      expect(same(small, copy));

      // A range, and an initializer list's worth of construction from nothing.
      Container none;
      expect((none.get_allocator() == allocator()));
      fill(none, 10);
    }
    expect(!one.holds_something());
    expect(!other.holds_something());
  }
}

template <class Subject, class T>
using alloc = typename Subject::template allocator<T>;

template <class Subject>
using vector_of = std::vector<item, alloc<Subject, item>>;
template <class Subject>
using string_of = std::basic_string<char, std::char_traits<char>, alloc<Subject, char>>;
template <class Subject>
using list_of = std::list<item, alloc<Subject, item>>;
template <class Subject>
using forward_list_of = std::forward_list<item, alloc<Subject, item>>;
template <class Subject>
using map_of = std::map<item, int, std::less<>, alloc<Subject, std::pair<const item, int>>>;
template <class Subject>
using multimap_of = std::multimap<item, int, std::less<>, alloc<Subject, std::pair<const item, int>>>;
template <class Subject>
using set_of = std::set<item, std::less<>, alloc<Subject, item>>;
template <class Subject>
using multiset_of = std::multiset<item, std::less<>, alloc<Subject, item>>;
template <class Subject>
using unordered_map_of = std::unordered_map<item, int, std::hash<item>, std::equal_to<>,
                                            alloc<Subject, std::pair<const item, int>>>;
template <class Subject>
using unordered_multimap_of = std::unordered_multimap<item, int, std::hash<item>, std::equal_to<>,
                                                      alloc<Subject, std::pair<const item, int>>>;
template <class Subject>
using unordered_set_of = std::unordered_set<item, std::hash<item>, std::equal_to<>, alloc<Subject, item>>;
template <class Subject>
using unordered_multiset_of =
    std::unordered_multiset<item, std::hash<item>, std::equal_to<>, alloc<Subject, item>>;

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(every_resource, Subject, subjects) {
  check_container<vector_of<Subject>, Subject>("vector");
  check_container<list_of<Subject>, Subject>("list");
  check_container<unordered_set_of<Subject>, Subject>("unordered_set");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sequences, Subject, one_subject) {
  check_container<std::vector<bool, alloc<Subject, bool>>, Subject>("vector<bool>");
  check_container<std::deque<item, alloc<Subject, item>>, Subject>("deque");
  check_container<forward_list_of<Subject>, Subject>("forward_list");
  check_container<string_of<Subject>, Subject>("string");
  check_container<std::basic_string<char32_t, std::char_traits<char32_t>, alloc<Subject, char32_t>>, Subject>(
      "u32string");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(ordered_associations, Subject, one_subject) {
  check_container<map_of<Subject>, Subject>("map");
  check_container<multimap_of<Subject>, Subject>("multimap");
  check_container<set_of<Subject>, Subject>("set");
  check_container<multiset_of<Subject>, Subject>("multiset");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(unordered_associations, Subject, one_subject) {
  check_container<unordered_map_of<Subject>, Subject>("unordered_map");
  check_container<unordered_multimap_of<Subject>, Subject>("unordered_multimap");
  check_container<unordered_multiset_of<Subject>, Subject>("unordered_multiset");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(growing_and_shrinking, Subject, one_subject) {
  Subject subject;
  {
    vector_of<Subject> v(subject.template get<item>());
    v.reserve(1000);
    fill(v, 10);
    v.shrink_to_fit();
    v.insert(v.begin(), 100, item(1));
    v.erase(v.begin(), v.begin() + 50);
    v.resize(2000);
    v.assign(3, item(4));
    std::vector<bool, alloc<Subject, bool>> bits(10'000, true, subject.template get<bool>());
    bits.flip();
    bits.resize(20'000, true);
    BOOST_TEST(std::count(bits.begin(), bits.end(), true) == 10'000);
    std::deque<item, alloc<Subject, item>> d(5000, subject.template get<item>());
    for (int i = 0; i < 3000; ++i) d.emplace_front(i), d.pop_back();
    d.shrink_to_fit();
    string_of<Subject> s(subject.template get<char>());
    for (int i = 0; i < 1000; ++i) s += "some more text ";
    s.erase(10);
    s.shrink_to_fit();
    BOOST_TEST(s.size() == 10U);
    unordered_set_of<Subject> u(100, subject.template get<item>());
    fill(u, many);
    u.rehash(5000);
    u.rehash(0);
    BOOST_TEST(u.size() == static_cast<std::size_t>(many));
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(nodes_move_between_containers_of_one_pool, Subject, one_subject) {
  Subject subject;
  const auto allocator = subject.template get<item>();
  {
    list_of<Subject> a(allocator);
    list_of<Subject> b(allocator);
    fill(a, 10);
    fill(b, 10, 100);
    a.splice(a.begin(), b, b.begin());
    a.splice(a.end(), b);
    BOOST_TEST((a.size() == 20U && b.empty()));
    fill(b, 10, 50);
    a.sort();
    a.merge(b);
    a.remove_if([](const item& i) { return i.number % 2 == 0; });
    a.unique();
    a.reverse();
    BOOST_TEST(a.size() == 15U);
    forward_list_of<Subject> c(allocator);
    forward_list_of<Subject> d(allocator);
    fill(c, 5);
    fill(d, 5);
    c.splice_after(c.before_begin(), d);
    BOOST_TEST(size_of(c) == 10U);

    map_of<Subject> m(allocator);
    map_of<Subject> n(allocator);
    fill(m, 20);
    fill(n, 5, 100);
    auto node = m.extract(item(7));
    BOOST_TEST((node.get_allocator() == m.get_allocator()));
    node.key() = item(1000);
    const auto inserted = n.insert(std::move(node));
    BOOST_TEST(inserted.inserted);
    m.merge(n);
    BOOST_TEST((m.size() == 25U && n.empty()));
    const auto dropped = m.extract(m.begin());  // dies with its own allocator
    multimap_of<Subject> multi(allocator);
    fill(multi, 5);
    m.merge(multi);

    unordered_map_of<Subject> u(allocator);
    unordered_map_of<Subject> w(allocator);
    fill(u, 20);
    fill(w, 30);
    auto other_node = u.extract(item(3));
    BOOST_TEST(!w.insert(std::move(other_node)).inserted);
    u.merge(w);
    BOOST_TEST(u.size() == 30U);
    unordered_set_of<Subject> s(allocator);
    fill(s, 5);
    auto third_node = s.extract(s.begin());
    unordered_set_of<Subject> t(allocator);
    t.insert(std::move(third_node));
    BOOST_TEST(t.size() == 1U);
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(container_adaptors, Subject, one_subject) {
  Subject subject;
  const auto allocator = subject.template get<item>();
  {
    using deque = std::deque<item, alloc<Subject, item>>;
    std::stack<item, deque> stack(allocator);
    std::stack<item, vector_of<Subject>> stack_of_vector(allocator);
    std::queue<item, deque> queue(allocator);
    std::queue<item, list_of<Subject>> queue_of_list(allocator);
    std::priority_queue<item, vector_of<Subject>> ordered(allocator);
    for (int i = 0; i < many; ++i) {
      stack.push(i);
      stack_of_vector.push(i);
      queue.push(i);
      queue_of_list.push(i);
      ordered.push(i);
    }
    const std::stack<item, deque> copy(stack, allocator);
    BOOST_TEST((copy.top() == item(many - 1) && stack_of_vector.top() == item(many - 1)));
    BOOST_TEST((queue.front() == item(0) && queue_of_list.front() == item(0)));
    BOOST_TEST((ordered.top() == item(many - 1)));
    while (!ordered.empty()) ordered.pop();
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(scoped_allocator_adaptor_hands_the_pool_to_the_elements, Subject, one_subject) {
  Subject subject;
  {
    using string = string_of<Subject>;
    using inner = std::vector<string, std::scoped_allocator_adaptor<alloc<Subject, string>>>;
    using outer = std::map<int, inner, std::less<>,
                           std::scoped_allocator_adaptor<alloc<Subject, std::pair<const int, inner>>>>;
    outer names(subject.template get<typename outer::value_type>());
    for (int i = 0; i < 10; ++i) {
      names[i].emplace_back("a name that is too long to be stored in place");
      names[i].emplace_back(30, 'x');
    }
    BOOST_TEST((names[3].get_allocator().outer_allocator() == subject.template get<string>()));
    BOOST_TEST((names[3][1].get_allocator() == subject.template get<char>()));
    const outer copy = names;
    BOOST_TEST((copy.at(3)[1].get_allocator() == subject.template get<char>()));

    // Each level with a pool of its own.
    Subject for_strings;
    using two_pools = std::scoped_allocator_adaptor<alloc<Subject, string>, alloc<Subject, char>>;
    std::vector<string, two_pools> split(
        two_pools(subject.template get<string>(), for_strings.template get<char>()));
    split.emplace_back(100, 'y');
    BOOST_TEST(for_strings.holds_something());
    BOOST_TEST((split[0].get_allocator() == for_strings.template get<char>()));
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(shared_pointers, Subject, subjects) {
  Subject subject;
  const auto allocator = subject.template get<item>();
  std::weak_ptr<item> watching;
  {
    const auto shared = std::allocate_shared<item>(allocator, 7);
    BOOST_TEST(shared->number == 7);
    watching = shared;
    const std::shared_ptr<item> copy = shared;
    const auto from_void = std::allocate_shared<item>(alloc<Subject, void>(allocator), 8);
    BOOST_TEST(from_void->number == 8);
#if defined(__cpp_lib_shared_ptr_arrays) && __cpp_lib_shared_ptr_arrays >= 201707L
    const auto array = std::allocate_shared<item[]>(allocator, 100, item(3));
    BOOST_TEST(array[99].number == 3);
    const auto fixed = std::allocate_shared<item[16]>(allocator);
    BOOST_TEST(fixed[15].number == 0);
    const auto overwritten = std::allocate_shared_for_overwrite<std::array<std::byte, 3000>>(allocator);
    BOOST_TEST((overwritten != nullptr));
#endif
    struct alignas(128) wide {
      std::byte bytes[128];
    };
    const auto over_aligned = std::allocate_shared<wide>(allocator);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(over_aligned.get()) % alignof(wide) == 0U);
    item on_stack;
    const std::shared_ptr<item> with_deleter(
        &on_stack, [](item*) {}, allocator);
    BOOST_TEST(subject.holds_something());
  }
  BOOST_TEST(watching.expired());
  BOOST_TEST(subject.holds_something());  // the block that the weak pointer keeps
  watching.reset();
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(futures_and_streams, Subject, one_subject) {
  Subject subject;
  {
    std::promise<item> promise(std::allocator_arg, subject.template get<char>());
    BOOST_TEST(subject.holds_something());
    auto future = promise.get_future();
    promise.set_value(5);
    BOOST_TEST(future.get().number == 5);
    std::promise<item> next(std::allocator_arg, subject.template get<char>());
    promise = std::move(next);
  }
  BOOST_TEST(!subject.holds_something());
  {
    using allocator = alloc<Subject, char>;
    std::basic_ostringstream<char, std::char_traits<char>, allocator> out(std::ios_base::out,
                                                                          subject.template get<char>());
    for (int i = 0; i < 1000; ++i) out << i << ' ';
    BOOST_TEST(subject.holds_something());
    const string_of<Subject> text = out.str();
    BOOST_TEST(text.size() == 3890U);
    BOOST_TEST((text.get_allocator() == subject.template get<char>()));

    const std::regex digits("([0-9]+) ([0-9]+)");
    using iterator = typename string_of<Subject>::const_iterator;
    using results = std::match_results<iterator, alloc<Subject, std::sub_match<iterator>>>;
    results found(subject.template get<std::sub_match<iterator>>());
    BOOST_TEST(std::regex_search(text, found, digits));
    BOOST_TEST(found.size() == 3U);
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(tuples_pass_the_allocator_on, Subject, one_subject) {
  Subject subject;
  {
    using string = string_of<Subject>;
    const std::tuple<string, vector_of<Subject>, int> parts(
        std::allocator_arg, subject.template get<char>(), string(100, 'x', subject.template get<char>()),
        vector_of<Subject>(10, subject.template get<item>()), 3);
    BOOST_TEST((std::get<0>(parts).get_allocator() == subject.template get<char>()));
    BOOST_TEST((std::get<1>(parts).get_allocator() == subject.template get<item>()));
    const auto made = std::make_obj_using_allocator<std::pair<string, string>>(subject.template get<char>(),
                                                                               "first", "second");
    BOOST_TEST((made.second.get_allocator() == subject.template get<char>()));
    static_assert(std::uses_allocator_v<string, alloc<Subject, int>>);
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(containers_of_boost, Subject, one_subject) {
  namespace bc = boost::container;
  check_container<bc::vector<item, alloc<Subject, item>>, Subject>("boost vector");
  check_container<bc::list<item, alloc<Subject, item>>, Subject>("boost list");
  check_container<bc::stable_vector<item, alloc<Subject, item>>, Subject>("boost stable_vector");
  check_container<bc::flat_map<item, int, std::less<>, alloc<Subject, std::pair<item, int>>>, Subject>(
      "boost flat_map");
  Subject subject;
  {
    using small_vector = bc::small_vector<item, 4, alloc<Subject, item>>;
    small_vector small(typename small_vector::allocator_type(subject.template get<item>()));
    fill(small, 4);
    BOOST_TEST(!subject.holds_something());
    fill(small, many);
    BOOST_TEST(subject.holds_something());
    boost::circular_buffer<item, alloc<Subject, item>> ring(100, subject.template get<item>());
    for (int i = 0; i < many; ++i) ring.push_back(i);
    BOOST_TEST(ring.front().number == many - 100);
  }
  BOOST_TEST(!subject.holds_something());
}

// A container's copy made without a word about allocators uses the pool still, unlike with
// polymorphic_allocator.
BOOST_AUTO_TEST_CASE(copies_keep_the_pool_where_pmr_falls_back) {
  unsynchronized_subject subject;
  const vector_of<unsynchronized_subject> original(10, subject.get<item>());
  const auto copy = original;
  BOOST_TEST((copy.get_allocator().resource() == &subject.pool));
  const std::pmr::vector<item> pmr_original(10, &subject.pool);
  const auto pmr_copy = pmr_original;
  BOOST_TEST((pmr_copy.get_allocator().resource() == std::pmr::get_default_resource()));
}
