#!/usr/bin/env python3
"""Clang warns where a view outlives the bytes it is of: lifetimebound_test.py CLANG INCLUDE_DIRECTORY [FLAG ...]

Each case is a function body that must be warned of; those of FINE must not be.
"""
import subprocess
import sys

PROLOGUE = """
#include <cistern/buffer_dynamic_view.hpp>
#include <cistern/buffer_format.hpp>
#include <cistern/buffer_stream.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
using namespace cistern;
using bytes = std::span<const std::byte>;
using room = std::span<std::byte>;
buffer make_buffer();
byte_lease make_lease();
chain make_chain();
void use(const void*);
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
    ("buffer", "std::pmr::monotonic_buffer_resource memory; return buffer(&memory);"),
    ("buffer_dynamic_view", "buffer b; return buffer_dynamic_view(b);"),
    ("buffer_dynamic_view", "buffer b; return buffer_dynamic_view(b, 10);"),
    ("buffer_streambuf*", "buffer b; buffer_istream in(b); return in.rdbuf();"),
    ("buffer_streambuf*", "buffer b; buffer_ostream out(b); return out.rdbuf();"),
    ("room", "byte_lease l(nullptr, 1); return l.bytes();"),
    ("room", "byte_lease l(nullptr); return l.allocate(1);"),
    ("byte_lease", "std::pmr::monotonic_buffer_resource memory; return byte_lease(&memory, 1);"),
    ("bytes", "chain c; return c.front();"),
    ("room", "chain c; return c.prepare(1);"),
    ("chain&", 'chain c; return c.append("x");'),
    ("chain&", 'chain c; return c.prepend("x");'),
    ("chain", "std::pmr::monotonic_buffer_resource memory; return chain(&memory);"),
    ("void", "std::string_view v = make_buffer().view(); use(v.data());"),
    ("void", "bytes v = make_buffer().bytes(); use(v.data());"),
    ("void", "room r = make_lease().bytes(); use(r.data());"),
    ("void", "bytes v = make_chain().front(); use(v.data());"),
]

FINE = [
    ("void", "use(make_buffer().view().data());"),
    ("std::string_view", "static buffer b; return b.view();"),
    ("buffer", "static std::pmr::monotonic_buffer_resource memory; return buffer(&memory);"),
    ("buffer", 'buffer b; b.append("x"); return b;'),
    ("buffer", "return buffer(nullptr);"),
    ("void", "buffer b; auto v = b.append(\"x\").view(); use(v.data());"),
    ("std::size_t", "return make_chain().front().size();"),
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
