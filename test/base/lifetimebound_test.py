#!/usr/bin/env python3
"""Clang warns where a view or reference outlives what it is of: lifetimebound_test.py CLANG INCLUDE_DIRECTORY [FLAG ...]

Each case is a function body that must be warned of; those of FINE must not be.
"""
import subprocess
import sys

PROLOGUE = """
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/buffer_dynamic_view.hpp>
#include <cistern/buffer_fmt.hpp>
#include <cistern/buffer_format.hpp>
#include <cistern/buffer_stream.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/pool_allocator.hpp>
#include <cistern/pool_error.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>
#include <cstdio>
#include <sstream>
using namespace cistern;
using memory = std::pmr::monotonic_buffer_resource;
using bytes = std::span<const std::byte>;
using room = std::span<std::byte>;
buffer make_buffer();
byte_lease make_lease();
chain make_chain();
struct thing { int value; };
struct things { thing create() { return {}; } };
template <class Policy = shared> using pool_of_things = object_pool<thing, things, Policy>;
trace_source make_source();
void use(const void*);
// Where there is no such library, what stands for it warns as well.
#if __has_include(<fmt/format.h>)
#define FMT_PRINT(out) fmt_print(out, "x")
#else
#define FMT_PRINT(out) out.append("x")
#endif
#if defined(__cpp_lib_format)
#define STD_PRINT(out) print(out, "x")
#else
#define STD_PRINT(out) out.append("x")
#endif
"""

# (return type, body)
WARNED = [
    ("std::string_view", "buffer b; return b.view();"),
    ("bytes", "buffer b; return b.bytes();"),
    ("room", "buffer b; return b.prepare(1);"),
    ("std::string_view", "buffer b; return b.next(1);"),
    ("std::string_view", "buffer b; return b.peek(1);"),
    ("buffer::line", "buffer b; return b.read_until('x');"),
    ("buffer&", 'buffer b; return b.append("x");'),
    ("buffer&", "buffer b; return b.append(bytes());"),
    ("buffer&", "buffer b; return print_with(b, [](char*, std::size_t) { return std::size_t{0}; });"),
    ("buffer&", "buffer b; return FMT_PRINT(b);"),
    ("buffer&", "buffer b; return STD_PRINT(b);"),
    ("buffer", "std::pmr::monotonic_buffer_resource memory; return buffer(&memory);"),
    ("buffer_dynamic_view", "buffer b; return buffer_dynamic_view(b);"),
    ("buffer_dynamic_view", "buffer b; return buffer_dynamic_view(b, 10);"),
    ("buffer_streambuf*", "buffer b; buffer_istream in(b); return in.rdbuf();"),
    ("buffer_streambuf*", "buffer b; buffer_ostream out(b); return out.rdbuf();"),
    ("buffer_streambuf", "buffer b; return buffer_streambuf(b);"),
    ("buffer_ostream", "buffer b; return buffer_ostream(b);"),
    ("buffer_istream", "buffer b; return buffer_istream(b);"),
    ("room", "byte_lease l(nullptr, 1); return l.bytes();"),
    ("room", "byte_lease l(nullptr); return l.allocate(1);"),
    ("byte_lease", "std::pmr::monotonic_buffer_resource memory; return byte_lease(&memory, 1);"),
    ("bytes", "chain c; return c.front();"),
    ("room", "chain c; return c.prepare(1);"),
    ("chain&", 'chain c; return c.append("x");'),
    ("chain&", 'chain c; return c.prepend("x");'),
    ("chain", "std::pmr::monotonic_buffer_resource memory; return chain(&memory);"),
    ("chain", "std::pmr::monotonic_buffer_resource memory; return chain(&memory, {});"),
    ("void", "std::string_view v = make_buffer().view(); use(v.data());"),
    ("void", "bytes v = make_buffer().bytes(); use(v.data());"),
    ("void", "room r = make_lease().bytes(); use(r.data());"),
    ("void", "bytes v = make_chain().front(); use(v.data());"),
    ("thing&", "pool_of_things<> p; auto l = p.acquire(); return *l;"),
    ("thing*", "pool_of_things<> p; auto l = p.acquire(); return l.get();"),
    ("thing*", "pool_of_things<per_thread> p; auto l = p.acquire(); return l.operator->();"),
    ("void", "pool_of_things<> p; thing* t = p.acquire().get(); use(t);"),
    ("void", "pool_of_things<> p; thing& t = *p.acquire(); use(&t);"),
    ("pool_of_things<>", "memory m; return pool_of_things<>({}, {}, &m);"),
    ("pool_of_things<per_thread>", "memory m; return pool_of_things<per_thread>({}, {}, &m);"),
    ("auto", "memory m; return make_object_pool({}, [] { return 1; }, {}, {}, {}, &m);"),
    ("auto", "pool_of_things<> p; return p.acquire_async();"),
    ("auto", "pool_of_things<per_thread> p; return p.acquire_async();"),
    ("auto", "pool_of_things<> p; return p.acquire_async_until({});"),
    ("const object_pool_options&", "return validated(object_pool_options());"),
    ("const char*", 'pool_error e(pool_errc::closed, "closed"); return e.what();'),
    ("const std::exception_ptr&", 'pool_error e(pool_errc::closed, "closed"); return e.cause();'),
    ("const char*", 'bad_allocation e("why", 1, 2, 3); return e.what();'),
    ("pool_allocator<int>", "synchronized_pool_resource p; return pool_allocator<int>(&p);"),
    ("pool_allocator<int>", "synchronized_pool_resource p; return &p;"),
    ("synchronized_pool_resource", "memory m; return synchronized_pool_resource(&m);"),
    ("synchronized_pool_resource", "memory m; return synchronized_pool_resource(pool_options{}, &m);"),
    ("synchronized_pool_resource", "memory m; return synchronized_pool_resource(std::pmr::pool_options{}, &m);"),
    ("unsynchronized_pool_resource", "memory m; return unsynchronized_pool_resource(&m);"),
    ("unsynchronized_pool_resource", "memory m; return unsynchronized_pool_resource(pool_options{}, &m);"),
    ("unsynchronized_pool_resource", "memory m; return unsynchronized_pool_resource(std::pmr::pool_options{}, &m);"),
    ("failure_adaptor", "memory m; return failure_adaptor({}, &m);"),
    ("fallback_adaptor", "memory m; return fallback_adaptor(&m);"),
    ("fallback_adaptor", "memory m; return fallback_adaptor(nullptr, &m);"),
    ("guarding_adaptor", "memory m; return guarding_adaptor(&m);"),
    ("guarding_adaptor", "memory m; return guarding_adaptor({}, &m);"),
    ("limit_adaptor", "memory m; return limit_adaptor(1, &m);"),
    ("recording_adaptor", "memory m; return recording_adaptor({}, &m);"),
    ("sampling_guard_adaptor", "memory m; return sampling_guard_adaptor(&m);"),
    ("sampling_guard_adaptor", "memory m; return sampling_guard_adaptor({}, &m);"),
    ("statistics_adaptor", "memory m; return statistics_adaptor(&m);"),
    ("statistics_adaptor::scope", "statistics_adaptor a; return statistics_adaptor::scope(a);"),
    ("trace_sink", "std::ostringstream out; return trace_to_stream(out);"),
    ("trace_source", "std::istringstream in; return trace_from_stream(in);"),
    ("trace_reader", "memory m; return trace_reader({}, &m);"),
    ("const trace_stacks&", "trace_reader r(make_source()); return r.stacks();"),
    ("std::span<const trace_place>", "trace_reader r(make_source()); return r.stacks().stack(1);"),
    ("trace_module", "trace_reader r(make_source()); return r.stacks().module(1);"),
    ("std::pmr::memory_resource*", "memory m; return resource_or_new_delete(&m);"),
    ("testing::memory_error_handler", "std::vector<testing::memory_error> e; return testing::collect_into(e);"),
    ("testing::checking_resource", "memory m; return testing::checking_resource(&m);"),
    ("testing::failing_resource", "memory m; return testing::failing_resource(&m);"),
]

FINE = [
    ("void", "use(make_buffer().view().data());"),
    ("std::string_view", "static buffer b; return b.view();"),
    ("buffer", "static std::pmr::monotonic_buffer_resource memory; return buffer(&memory);"),
    ("buffer", 'buffer b; b.append("x"); return b;'),
    ("buffer", "return buffer(nullptr);"),
    ("void", "buffer b; auto v = b.append(\"x\").view(); use(v.data());"),
    ("std::size_t", "return make_chain().front().size();"),
    ("auto", "static buffer b; return buffer_dynamic_view(b).data();"),
    ("auto", "static buffer b; return buffer_dynamic_view(b).prepare(1);"),
    ("buffer&", "static buffer b; buffer_streambuf s(b); return s.target();"),
    ("std::suspend_never", "pool_of_things<> p; auto wait = p.acquire_async(); use(&wait); return {};"),
    ("int", "pool_of_things<> p; return p.acquire()->value;"),
    ("thing", "pool_of_things<> p; return *p.acquire();"),
    ("void", "pool_of_things<> p; p.acquire()->value = (*p.acquire()).value; use(p.acquire().get());"),
    ("lease<thing>", "memory m; pool_of_things<> p({}, {}, &m); return p.acquire();"),
    ("pool_of_things<>", "static memory m; return pool_of_things<>({}, {}, &m);"),
    ("void", "synchronized_pool_resource p; std::vector<int, pool_allocator<int>> v(&p); use(v.data());"),
    ("void*", "memory m; synchronized_pool_resource p(&m); return p.allocate(1);"),
    ("void", 'try { throw pool_error(pool_errc::closed, ""); } catch (const pool_error& e) { std::puts(e.what()); }'),
]


def main():
    clang, include, *flags = sys.argv[1:]
    functions = [f"{kind} f{i}() {{ {body} }}" for i, (kind, body) in enumerate(WARNED + FINE)]
    command = [clang, "-std=c++20", "-fsyntax-only", "-ferror-limit=0", "-I", include, *flags, "-x", "c++", "-"]
    run = subprocess.run(command, input=PROLOGUE + "#line 1 \"cases\"\n" + "\n".join(functions), text=True,
                         capture_output=True, check=False)
    if run.returncode != 0:
        sys.exit(f"the cases don't compile:\n{run.stderr}")
    warned = {int(line.split(":")[1]) - 1 for line in run.stderr.splitlines()
              if line.startswith("cases:") and ("[-Wreturn-stack-address]" in line or "[-Wdangling" in line)}
    wrong = [f"not warned of: {functions[i]}" for i in range(len(WARNED)) if i not in warned]
    wrong += [f"warned of: {functions[i]}" for i in sorted(warned) if i >= len(WARNED)]
    print("\n".join(wrong) or f"{len(WARNED)} cases warned of, {len(FINE)} not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
