// SPDX-License-Identifier: Apache-2.0
// Structs to and from JSON by a table of their fields; a field that no table names is an error.
//
//   template <>
//   struct msb::json::Fields<Spec> {
//     static constexpr auto kTable = std::array{
//         Required<&Spec::image>("image"),
//         Optional<&Spec::cpus>("cpus"),  // Absent or null: the default stays.
//     };
//   };
//   Spec spec = TRY(json::Decode<Spec>(text));
//   std::string again = json::Encode(spec, json::Style::kPretty);
//
// Members may be bool, integers (range-checked), double, std::string, std::optional, std::vector,
// std::map<std::string, T>, enums with names, structs with a table, and whatever has a Codec.

#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/json_writer.h"
#include "json/pretty.h"
#include "json/value.h"

namespace msb::json {

enum class Style : uint8_t { kCompact, kPretty };

// Specialise with `static constexpr auto kTable`, as above.
template <class T>
struct Fields;

// Specialise with `static constexpr std::pair<std::string_view, E> kNames[]`, one for each value.
template <class E>
struct EnumNames;

// Specialise with Read and Write for a type of your own, such as a strong id or a duration.
template <class T>
struct Codec;

template <class T>
struct Field {
  std::string_view name;
  bool required;
  Result<void> (*read)(const Value&, T&);
  void (*write)(const T&, JsonWriter&);
};

namespace internal {

template <class P>
struct MemberOf;
template <class T, class M>
struct MemberOf<M T::*> {
  using Struct = T;
  using Member = M;
};

template <auto kMember>
constexpr auto MakeField(std::string_view name, bool required) {
  using T = typename MemberOf<decltype(kMember)>::Struct;
  using M = typename MemberOf<decltype(kMember)>::Member;
  return Field<T>{name, required,
                  [](const Value& value, T& into) { return Codec<M>::Read(value, into.*kMember); },
                  [](const T& from, JsonWriter& out) { Codec<M>::Write(from.*kMember, out); }};
}

}  // namespace internal

template <auto kMember>
constexpr auto Required(std::string_view name) {
  return internal::MakeField<kMember>(name, true);
}
template <auto kMember>
constexpr auto Optional(std::string_view name) {
  return internal::MakeField<kMember>(name, false);
}

template <>
struct Codec<bool> {
  static Result<void> Read(const Value& value, bool& into) {
    into = TRY(value.Bool());
    return {};
  }
  static void Write(bool from, JsonWriter& out) { out.Bool(from); }
};

template <std::signed_integral T>
struct Codec<T> {
  static Result<void> Read(const Value& value, T& into) {
    int64_t integer = TRY(value.Integer());
    if (!std::in_range<T>(integer)) return value.Complaint("integer is out of range");
    into = static_cast<T>(integer);
    return {};
  }
  static void Write(T from, JsonWriter& out) { out.Number(from); }
};

template <std::unsigned_integral T>
struct Codec<T> {
  static Result<void> Read(const Value& value, T& into) {
    uint64_t integer = TRY(value.Unsigned());
    if (!std::in_range<T>(integer)) return value.Complaint("integer is out of range");
    into = static_cast<T>(integer);
    return {};
  }
  static void Write(T from, JsonWriter& out) { out.Number(from); }
};

template <>
struct Codec<double> {
  static Result<void> Read(const Value& value, double& into) {
    into = TRY(value.Number());
    return {};
  }
  static void Write(double from, JsonWriter& out) { out.Raw(NumberToken(from)); }
};

template <>
struct Codec<std::string> {
  static Result<void> Read(const Value& value, std::string& into) {
    into = TRY(value.String());
    return {};
  }
  static void Write(const std::string& from, JsonWriter& out) { out.String(from); }
};

template <class T>
struct Codec<std::optional<T>> {
  static Result<void> Read(const Value& value, std::optional<T>& into) {
    into.reset();
    if (value.is_null()) return {};
    return Codec<T>::Read(value, into.emplace());
  }
  static void Write(const std::optional<T>& from, JsonWriter& out) {
    if (from)
      Codec<T>::Write(*from, out);
    else
      out.Null();
  }
};

template <class T>
struct Codec<std::vector<T>> {
  static Result<void> Read(const Value& value, std::vector<T>& into) {
    into.clear();
    for (const Value& item : TRY(value.Items())) {
      T element{};
      TRY(Codec<T>::Read(item, element));
      into.push_back(std::move(element));
    }
    return {};
  }
  static void Write(const std::vector<T>& from, JsonWriter& out) {
    out.BeginArray();
    for (const auto& element : from) Codec<T>::Write(element, out);
    out.EndArray();
  }
};

template <class T>
struct Codec<std::map<std::string, T>> {
  static Result<void> Read(const Value& value, std::map<std::string, T>& into) {
    into.clear();
    for (const std::string& name : TRY(value.Names()))
      TRY(Codec<T>::Read(TRY(value.Field(name)), into[name]));
    return {};
  }
  static void Write(const std::map<std::string, T>& from, JsonWriter& out) {
    out.BeginObject();
    for (const auto& [name, element] : from) {
      out.Key(name);
      Codec<T>::Write(element, out);
    }
    out.EndObject();
  }
};

template <class E>
requires std::is_enum_v<E>
struct Codec<E> {
  static Result<void> Read(const Value& value, E& into) {
    std::string text = TRY(value.String());
    for (const auto& [name, candidate] : EnumNames<E>::kNames) {
      if (name != text) continue;
      into = candidate;
      return {};
    }
    std::string complaint = "unknown value " + Quote(text) + "; one of";
    for (const auto& [name, candidate] : EnumNames<E>::kNames) complaint += " " + std::string(name);
    return value.Complaint(complaint);
  }
  static void Write(E from, JsonWriter& out) {
    for (const auto& [name, candidate] : EnumNames<E>::kNames)
      if (candidate == from) {
        out.String(name);
        return;
      }
    out.Null();
  }
};

template <class T>
requires requires { Fields<T>::kTable; }
struct Codec<T> {
  static Result<void> Read(const Value& value, T& into) {
    if (value.unknown_fields() == UnknownFields::kRefuse) TRY(RefuseUnknown(value));
    for (const Field<T>& field : Fields<T>::kTable) {
      std::optional<Value> found = TRY(value.FindField(field.name));
      if (field.required) {
        TRY(field.read(TRY(value.Field(field.name)), into));
      } else if (found && !found->is_null()) {
        TRY(field.read(*found, into));
      }
    }
    return {};
  }
  static void Write(const T& from, JsonWriter& out) {
    out.BeginObject();
    for (const Field<T>& field : Fields<T>::kTable) {
      out.Key(field.name);
      field.write(from, out);
    }
    out.EndObject();
  }

 private:
  static Result<void> RefuseUnknown(const Value& value) {
    for (const std::string& name : TRY(value.Names())) {
      bool known = false;
      for (const Field<T>& field : Fields<T>::kTable) known = known || field.name == name;
      if (!known) return value.Complaint("unknown field " + Quote(name));
    }
    return {};
  }
};

template <class T>
Result<T> Decode(const Value& value) {
  T into{};
  TRY(Codec<T>::Read(value, into));
  return into;
}

template <class T>
Result<T> Decode(std::string_view text, const ParseOptions& options = {}) {
  Document document = TRY(Document::Parse(text, options));
  return Decode<T>(document.root());
}

template <class T>
std::string Encode(const T& from, Style style = Style::kCompact) {
  JsonWriter out;
  Codec<T>::Write(from, out);
  std::string compact = std::move(out).Take();
  return style == Style::kCompact ? compact : Pretty(compact);
}

}  // namespace msb::json
