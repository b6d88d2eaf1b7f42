#!/usr/bin/env python3
"""Whatever hands out a view or reference, or keeps one, says so to clang: lifetimebound_marks.py INCLUDE_DIRECTORY

Looks through the public headers for functions that return a reference, pointer, view or awaiter, for constructors that
take a resource, reference or span, and for functions that wrap one in what they return. Each has CISTERN_LIFETIMEBOUND
or a reason in EXCEPTIONS not to. Whether clang then warns is for lifetimebound_test.py.

    lifetimebound_marks.py --self-test    shows that unmarked ones are found
"""
import pathlib
import re
import sys

MARK = "CISTERN_LIFETIMEBOUND"
NOT_ITS_OWN = "what it returns belongs to somebody who outlives the object"
LITERAL = "literals live as long as the program"
MEMORY = "a block, whose end is its deallocation"
USED_UP = "uses what it is given, and keeps nothing of it"
# "header: class::function" or "header: function", and why it has no mark.
EXCEPTIONS = {
    "adaptor/limit_adaptor.hpp: limit_adaptor::try_allocate": MEMORY,
    "adaptor/trace_advice.hpp: advise": USED_UP,
    "adaptor/trace_replay.hpp: replay": USED_UP,
    "buffer_dynamic_view.hpp: buffer_dynamic_view::data": NOT_ITS_OWN,
    "buffer_dynamic_view.hpp: buffer_dynamic_view::prepare": NOT_ITS_OWN,
    "buffer_stream.hpp: buffer_streambuf::target": NOT_ITS_OWN,
    "source_location.hpp: source_location::file_name": LITERAL,
    "source_location.hpp: source_location::function_name": LITERAL,
}
# Functions that are alike wherever they are.
ALIKE = {
    "upstream_resource": NOT_ITS_OWN,
    "fallback_resource": NOT_ITS_OWN,
    "resource": NOT_ITS_OWN,
    "allocate": MEMORY,
    "allocate_at_least": MEMORY,
    "operator=": "an assignment's result is rarely kept",
    "operator<<": "as the standard's, which have no mark either",
}
VIEW = re.compile(r"[&*]$|\b(?:span|auto|line|\w*view|\w*iterator|\w+_buffers_type|trace_module)\b(?:<.*>)?$")
KEPT = re.compile(r"^(?!const\b)[^&]*&(?!&)|\b(?!(?:char|void)\b)\w+\s*\*|\bspan<")
HOLDER = re.compile(r"^(?:std::)?(?:size_t|u?int\d*_t|bool|int|void|string)$|^$")


def without_words(text):
    """Without comments, texts and the preprocessor's lines."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.S | re.M)
    return re.sub(r'"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'', '""', text)


def declarations(text):
    """(class or "", declaration) of all that users may call."""
    scopes = [("namespace", "", True, True)]  # kind, name, whether users get at it, and at what comes
    begin = depth = at = 0
    text = without_words(text)
    while at < len(text):
        c = text[at]
        depth += (c == "(") - (c == ")")
        kind, name, reached, public = scopes[-1]
        said = " ".join(text[begin:at].split())
        if c == ":" and kind == "class" and (access := re.fullmatch(r"(public|protected|private)", said)):
            scopes[-1] = (kind, name, reached, reached and access.group(1) == "public")
            begin = at + 1
        elif c in "{;" and depth == 0 or c == "{" and kind == "body":
            if kind != "body" and public and "(" in said:
                yield name, said
            if c == "{":
                scopes.append(scope_of(said, public and kind != "body"))
            begin = at + 1
        elif c == "}" and (depth == 0 or kind == "body"):
            scopes.pop()
            begin = at + 1
        at += 1


def scope_of(said, reached):
    said = re.sub(r"\[\[.*?\]\]|alignas\(.*?\)", "", said)
    if found := re.search(r"\b(namespace)\b\s*([\w:]*)", said):
        reached = reached and not found.group(2).endswith("detail")
        return "namespace", "", reached, reached
    found = re.search(r"(?:^|.*[> ])(class|struct)\s+(\w+)[^()=]*$", said)
    if found and not re.search(r"\benum\b", said):
        return "class", found.group(2), reached, reached and found.group(1) == "struct"
    return "body", "", False, False


def split(said):
    """Type, name, parameters and what comes behind them; None where it is no function."""
    said = re.sub(r"\[\[.*?\]\]", "", said)
    while found := re.match(r"\s*template\s*<", said):
        depth, at = 1, found.end()
        while depth:
            depth += {"<": 1, ">": -1}.get(said[at], 0)
            at += 1
        said = said[at:]
    found = re.search(r"(~?\w+|operator\s*(?:\(\)|[^\s\w(]+))\s*\(", said)
    if not found or re.search(r"\b(?:friend|using|requires|concept|static_assert)\b|=\s*$", said[:found.start()]):
        return None
    depth, at = 1, found.end()
    while depth and at < len(said):
        depth += {"(": 1, ")": -1}.get(said[at], 0)
        at += 1
    kind = re.sub(r"\b(?:explicit|constexpr|inline|static|virtual|friend)\b", "", said[:found.start()]).strip()
    return kind, found.group(1), said[found.end():at - 1], said[at:]


def parameters(text):
    """At the commas outside of brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "(<{") - (c in ")>}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts if part.strip()]


def is_unmarked(owner, said):
    kind, name, given, behind = split(said)
    if name.startswith("~") or re.search(r"=\s*delete", behind):
        return False
    kept = [one for one in parameters(given) if KEPT.search(one.split("=")[0])]
    if name == owner or (not owner and not HOLDER.match(kind)):
        if any(MARK not in one for one in kept):
            return True
        if name == owner or kept:
            return False
    from_elsewhere = not owner and not re.search(r"[&*]|span|view", given)
    return bool(VIEW.search(kind)) and not from_elsewhere and MARK not in given + behind


def unmarked(texts):
    """Of headers by their names: "header: class::function"."""
    found = set()
    for header, text in texts.items():
        for owner, said in declarations(text):
            if split(said) and is_unmarked(owner, said):
                found.add(f"{header}: {owner + '::' if owner else ''}{split(said)[1]}")
    return {one for one in found if re.split(r"::|: ", one)[-1] not in ALIKE}


UNMARKED = """
struct a { const int& f() const noexcept { return 1; } };
class a { public: explicit a(std::pmr::memory_resource* upstream = nullptr) noexcept : upstream_(upstream) {} };
class a { int x; public: std::span<const int> f() const; };
class a { public: template <class T = int> [[nodiscard]] auto f(T t = {}) { return t; } };
class a { public: void g() { if (x) { y(); } } std::string_view f(); };
class a { public: a(buffer& target, int n); };
class a { public: a(memory* one CISTERN_LIFETIMEBOUND, memory* two); };
template <class T> class a { public: explicit a(T one = {}, memory* two = nullptr); };
class a { public: void g() { h({x, y}); } int* f(); };
[[nodiscard]] holder wrap(std::vector<int>& all);
[[nodiscard]] holder wrap(std::span<const int> all);
const int& same(const int& one);
""".strip().splitlines()
MARKED = """
struct a { const int& f() const noexcept CISTERN_LIFETIMEBOUND { return 1; } };
class a { const int& f(); };
class a { public: a(const a& other); a(a&& other) noexcept; a& operator=(const a&) = delete; int f(int& x); };
class a { public: int g() { const int& f(x); return f; } };
namespace detail { struct a { int* f(); class b { public: int* f(); }; }; }
class a { public: a(memory* one CISTERN_LIFETIMEBOUND, const char* two); };
std::size_t read(std::istream& in);
const char* to_string(kind one);
class a { public: a(const std::string& copied); };
// int* f();
""".strip().splitlines()


def self_test():
    wrong = [f"not found: {one}" for one in UNMARKED if not unmarked({"h": one})]
    return wrong + [f"found: {one}" for one in MARKED if unmarked({"h": one})]


def faults_under(include):
    root = pathlib.Path(include) / "cistern"
    headers = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.hpp"))}
    found = unmarked({name: text for name, text in headers.items() if "detail/" not in name})
    if not any(MARK in text for text in headers.values()):
        return [f"no header of {root} has a mark"]
    return ([f"{one}: no {MARK}, and no reason in EXCEPTIONS" for one in sorted(found - EXCEPTIONS.keys())] +
            [f"{one}: stands in EXCEPTIONS, and is marked or gone" for one in sorted(EXCEPTIONS.keys() - found)])


def main():
    faults = self_test() if sys.argv[1] == "--self-test" else faults_under(sys.argv[1])
    print("\n".join(faults) or "all that should be marked is")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
