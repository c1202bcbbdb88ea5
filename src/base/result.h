// SPDX-License-Identifier: Apache-2.0
// Result<T>: the one way a function in this project reports failure.
//
// It has the shape of C++23's std::expected<T, Error>. It is our own because on Debian 12 that type
// needs -std=c++2b, is invisible to clang-14 (and clang-tidy-14), lacks and_then() in GCC 12, and
// is not [[nodiscard]].

#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace msb {

// What a caller may branch on, and what the HTTP and JSON-RPC layers map to a status. Few on
// purpose.
enum class Code : uint8_t {
  kInvalidArgument,
  kNotFound,
  kAlreadyExists,
  kPermissionDenied,
  kFailedPrecondition,
  kResourceExhausted,
  kUnavailable,
  kDeadlineExceeded,
  kDataLoss,
  kUnimplemented,
  kInternal,
};

Code CodeFromErrno(int err);

// The name that JSON and logs carry: "not_found".
std::string_view CodeName(Code code);

class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message) : rep_(new Rep{code, 0, std::move(message), {}}) {}

  // `what` names the call and its operand: Errno("openat layers/ab12"). errno is read by the
  // caller, before anything else can change it.
  static Error Errno(std::string_view what, int err = errno);

  Code code() const { return rep_->code; }
  int sys_errno() const { return rep_->err; }
  const std::string& message() const { return rep_->message; }
  // What the user can do about it; empty when nothing better than the message is known.
  const std::string& remedy() const { return rep_->remedy; }

  // Prepends what we were doing: "pull alpine:3.20: fetch manifest: connect: Connection refused".
  Error&& Context(std::string_view doing) &&;
  // Says what to do: "run: msb doctor". The innermost remedy stays: it knows most.
  Error&& Remedy(std::string_view what_to_do) &&;

 private:
  struct Rep {
    Code code;
    int err;
    std::string message;
    std::string remedy;
  };
  std::unique_ptr<Rep> rep_;  // One pointer wide, so Result<T> stays small on the success path.
};

template <class T>
class [[nodiscard]] Result {
  using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
  static_assert(!std::is_reference_v<T>, "return a pointer instead of a reference");

 public:
  using value_type = T;

  Result() requires std::is_void_v<T> : state_(std::in_place_index<0>) {}

  template <class U = Value>
  requires(!std::is_void_v<T> && std::is_constructible_v<Value, U&&> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result> &&
           !std::is_same_v<std::remove_cvref_t<U>, Error>) Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  const Error& error() const& { return *Get<1>(state_); }
  Error&& error() && { return std::move(*Get<1>(state_)); }

  decltype(auto) operator*() & { return (*Get<0>(state_)); }
  decltype(auto) operator*() const& { return (*Get<0>(state_)); }
  decltype(auto) operator*() && { return std::move(*Get<0>(state_)); }
  Value* operator->() { return Get<0>(state_); }
  const Value* operator->() const { return Get<0>(state_); }

  Result&& Context(std::string_view doing) && {
    if (!ok()) std::move(*Get<1>(state_)).Context(doing);
    return std::move(*this);
  }
  Result&& Remedy(std::string_view what_to_do) && {
    if (!ok()) std::move(*Get<1>(state_)).Remedy(what_to_do);
    return std::move(*this);
  }

 private:
  template <size_t I, class V>
  static auto* Get(V& state) {
    auto* p = std::get_if<I>(&state);
    if (p == nullptr) __builtin_trap();  // Read on the wrong side: our bug, fatal in all builds.
    return p;
  }

  std::variant<Value, Error> state_;
};

}  // namespace msb

// Unwraps or returns the error to our caller. A statement expression (GCC and Clang), so it nests:
//   auto fd = TRY(sys::OpenAt(dir, name, O_RDONLY));
// Never in a coroutine: GCC 12 crashes on it (PR115851). We have no coroutines.
#define TRY(expression) TRY_AS_(TRY_NAME_(_try_result, __COUNTER__), expression)
#define TRY_AS_(name, expression)     \
  __extension__({                     \
    auto name = (expression);         \
    if (!name) [[unlikely]]           \
      return std::move(name).error(); \
    *std::move(name);                 \
  })
#define TRY_NAME_(prefix, n) TRY_NAME_2_(prefix, n)
#define TRY_NAME_2_(prefix, n) prefix##n
