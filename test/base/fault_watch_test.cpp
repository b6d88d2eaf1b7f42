// Listeners are asked on a fault, and then the signal has whatever effect it had before them.
#include <cistern/detail/base/fault_watch.hpp>
#include <cistern/detail/base/os_pages.hpp>

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "../../src/base/signal_text.hpp"
#include "../support/death.hpp"
#include "../support/forking.hpp"
#include <signal.h>
#include <unistd.h>

using cistern::detail::fault_access;
using cistern::detail::fault_listener;
using cistern::detail::signal_text;
using cistern::test_support::ending_of;

namespace {

/// A page that nobody may touch, and what is said of those who do.
class closed_page final : fault_listener {
 public:
  explicit closed_page(const char* name)
      : name_(name), page_(cistern::detail::reserve_pages(cistern::detail::os_page_bytes())) {
    BOOST_TEST_REQUIRE(page_ != nullptr);
    cistern::detail::watch_faults(*this);
  }
  closed_page(const closed_page&) = delete;
  closed_page& operator=(const closed_page&) = delete;
  ~closed_page() {
    cistern::detail::stop_watching_faults(*this);
    cistern::detail::unmap_pages(page_, cistern::detail::os_page_bytes());
  }

  [[nodiscard]] volatile char& byte() const { return *static_cast<volatile char*>(page_); }

 private:
  bool describe_fault(const void* address, fault_access access, signal_text& text) noexcept override {
    if (address != page_) return false;
    text.add(access == fault_access::write ? "write to " : "access to ").add(name_);
    return true;
  }

  const char* name_;
  void* page_;
};

void say(const char* words) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, words, std::char_traits<char>::length(words));
}

void say_and_exit(int /*signal*/) {
  say("before\n");
  ::_exit(7);
}

void say_info_and_exit(int signal, siginfo_t* info, void* context) {
  say(signal == SIGSEGV && info->si_code == SEGV_ACCERR && context != nullptr ? "before, informed\n"
                                                                              : "wrong\n");
  ::_exit(8);
}

void say_what_is_blocked_and_exit(int signal) {
  sigset_t blocked;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  say(::sigismember(&blocked, SIGUSR1) == 1 ? "the other is blocked, " : "the other is open, ");
  say(::sigismember(&blocked, signal) == 1 ? "this one too\n" : "this one isn't\n");
  ::_exit(9);
}

void set_handler(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

void (*handler_of(int signal))(int) {
  struct sigaction action = {};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

sigjmp_buf way_out;
void jump(int /*signal*/) {
  siglongjmp(way_out, 1);
}

[[gnu::noinline]] void touch_and_survive(const closed_page& page) {
  if (sigsetjmp(way_out, 1) == 0) page.byte() = 1;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_fault_is_told_and_then_ends_the_process_as_ever) {
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               page.byte() = 1;
             }) == "killed by signal 11: write to the page\n");
}

BOOST_AUTO_TEST_CASE(the_one_who_knows_the_address_tells) {
  BOOST_TEST(ending_of([] {
               closed_page a("a");
               closed_page b("b");
               closed_page c("c");
               b.byte() = 1;
             }) == "killed by signal 11: write to b\n");
}

BOOST_AUTO_TEST_CASE(what_nobody_knows_is_not_told) {
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               void* const other = cistern::detail::reserve_pages(cistern::detail::os_page_bytes());
               *static_cast<volatile char*>(other) = 1;
             }) == "killed by signal 11");
}

BOOST_AUTO_TEST_CASE(who_has_gone_is_not_asked) {
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               { closed_page gone("gone"); }
               page.byte() = 1;
             }) == "killed by signal 11: write to the page\n");
}

BOOST_AUTO_TEST_CASE(another_thread_s_fault_is_told) {
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               std::thread([&] { page.byte() = 1; }).join();
             }) == "killed by signal 11: write to the page\n");
}

BOOST_AUTO_TEST_CASE(a_handler_that_was_there_is_called) {
  BOOST_TEST(ending_of([] {
               set_handler(SIGSEGV, say_and_exit);
               closed_page page("the page");
               page.byte() = 1;
             }) == "exited with 7: write to the page\nbefore\n");
  BOOST_TEST(ending_of([] {
               struct sigaction action = {};
               action.sa_sigaction = say_info_and_exit;
               action.sa_flags = SA_SIGINFO;
               ::sigaction(SIGSEGV, &action, nullptr);
               closed_page page("the page");
               page.byte() = 1;
             }) == "exited with 8: write to the page\nbefore, informed\n");
}

BOOST_AUTO_TEST_CASE(a_handler_for_one_time_is_called_once) {
  const auto say_only = [](int) { say("before\n"); };
  BOOST_TEST(ending_of([&] {
               set_handler(SIGSEGV, say_only, static_cast<int>(SA_RESETHAND));
               closed_page page("the page");
               page.byte() = 1;
             }) == "killed by signal 11: write to the page\nbefore\n");
}

BOOST_AUTO_TEST_CASE(a_handler_runs_with_those_signals_blocked_that_it_wants) {
  const auto ending_with = [](int flags) {
    return ending_of([=] {
      struct sigaction action = {};
      action.sa_handler = say_what_is_blocked_and_exit;
      action.sa_flags = flags;
      ::sigaddset(&action.sa_mask, SIGUSR1);
      ::sigaction(SIGSEGV, &action, nullptr);
      closed_page page("the page");
      page.byte() = 1;
    });
  };
  BOOST_TEST(ending_with(0) == "exited with 9: write to the page\nthe other is blocked, this one too\n");
  BOOST_TEST(ending_with(SA_NODEFER) ==
             "exited with 9: write to the page\nthe other is blocked, this one isn't\n");
}

BOOST_AUTO_TEST_CASE(a_handler_may_jump_out_and_faults_are_told_again) {
  BOOST_TEST(ending_of([] {
               set_handler(SIGSEGV, jump);
               closed_page page("the page");
               for (int i = 0; i < 3; ++i) touch_and_survive(page);
             }) == "exited with 0: write to the page\nwrite to the page\nwrite to the page\n");
}

BOOST_AUTO_TEST_CASE(a_signal_that_somebody_sends_has_its_old_effect) {
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               std::raise(SIGSEGV);
             }) == "killed by signal 11");
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               std::raise(SIGBUS);
             }) == "killed by signal 7");
  BOOST_TEST(ending_of([] {
               set_handler(SIGSEGV, SIG_IGN);
               closed_page page("the page");
               std::raise(SIGSEGV);
               say("alive\n");
             }) == "exited with 0: alive\n");
  BOOST_TEST(ending_of([] {
               set_handler(SIGSEGV, SIG_IGN);
               closed_page page("the page");
               page.byte() = 1;
             }) == "killed by signal 11: write to the page\n");
}

BOOST_AUTO_TEST_CASE(the_last_one_puts_back_what_was_there) {
  BOOST_TEST(ending_of([] {
               set_handler(SIGSEGV, say_and_exit);
               for (int i = 0; i < 2; ++i) {
                 auto first = std::make_unique<closed_page>("first");
                 closed_page second("second");
                 if (handler_of(SIGSEGV) == say_and_exit) say("not watched\n");
                 first.reset();
                 if (handler_of(SIGSEGV) == say_and_exit) say("not watched any more\n");
               }
               if (handler_of(SIGSEGV) != say_and_exit) say("still watched\n");
             }) == "exited with 0");
}

// It may call the one below it, which must be there, and must not come to lie above it again.
BOOST_AUTO_TEST_CASE(a_handler_that_was_put_over_it_keeps_working) {
  BOOST_TEST(ending_of([] {
               static struct sigaction below = {};
               set_handler(SIGSEGV, say_and_exit);
               auto page = std::make_unique<closed_page>("the page");
               struct sigaction over = {};
               over.sa_flags = SA_SIGINFO;
               over.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
                 say("over\n");
                 below.sa_sigaction(signal, info, context);
               };
               ::sigaction(SIGSEGV, &over, &below);
               page.reset();
               closed_page again("the page again");
               again.byte() = 1;
             }) == "exited with 7: over\nwrite to the page again\nbefore\n");
}

BOOST_AUTO_TEST_CASE(the_child_of_a_fork_is_watched) {
  BOOST_TEST(ending_of([] {
               closed_page page("the page");
               say(cistern::test_support::fork_fault([&] { page.byte() = 1; }).c_str());
             }) == "exited with 0: write to the page\nthe child was killed by signal 11");
}
