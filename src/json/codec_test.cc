// SPDX-License-Identifier: Apache-2.0
// Structs through their field tables, both ways.
#include "json/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::json {
namespace {

enum class Wall { kVm, kProcess };

struct Port {
  uint16_t host = 0;
  std::optional<std::string> name;
  bool operator==(const Port&) const = default;
};

struct Spec {
  std::string image;
  int32_t cpus = 1;
  double share = 0.5;
  bool detach = false;
  Wall wall = Wall::kVm;
  std::vector<Port> ports;
  std::map<std::string, std::string> env;
  bool operator==(const Spec&) const = default;
};

}  // namespace

template <>
struct EnumNames<Wall> {
  static constexpr std::pair<std::string_view, Wall> kNames[] = {{"vm", Wall::kVm},
                                                                 {"process", Wall::kProcess}};
};
template <>
struct Fields<Port> {
  static constexpr auto kTable =
      std::array{Required<&Port::host>("host"), Optional<&Port::name>("name")};
};
template <>
struct Fields<Spec> {
  static constexpr auto kTable =
      std::array{Required<&Spec::image>("image"),    Optional<&Spec::cpus>("cpus"),
                 Optional<&Spec::share>("share"),    Optional<&Spec::detach>("detach"),
                 Optional<&Spec::wall>("isolation"), Optional<&Spec::ports>("ports"),
                 Optional<&Spec::env>("env")};
};

namespace {

std::string Complaint(std::string_view text) {
  auto spec = Decode<Spec>(text);
  return spec.ok() ? "accepted" : spec.error().message();
}

TEST(Codec, ComesBackAsItWent) {
  Spec spec{.image = "python",
            .cpus = 4,
            .share = 0.25,
            .detach = true,
            .wall = Wall::kProcess,
            .ports = {{80, "http"}, {443, {}}},
            .env = {{"PATH", "/bin"}, {"EMPTY", ""}}};
  EXPECT_EQ(*Decode<Spec>(Encode(spec)), spec);
  EXPECT_EQ(*Decode<Spec>(Encode(spec, Style::kPretty)), spec);
}

TEST(Codec, WritesTheTablesOrder) {
  EXPECT_EQ(Encode(Port{.host = 80}), R"({"host":80,"name":null})");
}

TEST(Codec, KeepsDefaultsForAbsentAndNull) {
  EXPECT_EQ(*Decode<Spec>(R"({"image":"a","cpus":null})"), Spec{.image = "a"});
}

TEST(Codec, RefusesUnknownFieldsWithTheirPath) {
  EXPECT_EQ(Complaint(R"({"image":"a","ports":[{"host":1,"gust":2}]})"),
            "ports[0]: unknown field \"gust\"");
}

TEST(Codec, IgnoresUnknownFieldsWhenToldTo) {
  EXPECT_TRUE(Decode<Spec>(R"({"image":"a","ports":[{"host":1,"gust":2}],"new":{}})",
                           {.unknown_fields = UnknownFields::kIgnore})
                  .ok());
}

TEST(Codec, NamesWhatIsMissingOrWrong) {
  EXPECT_EQ(Complaint("{}"), "image: missing");
  EXPECT_EQ(Complaint(R"({"image":null})"), "image: expected string, got null");
  EXPECT_EQ(Complaint(R"({"image":"a","ports":[{"host":65536}]})"),
            "ports[0].host: integer is out of range");
  EXPECT_EQ(Complaint(R"({"image":"a","env":{"A":1}})"), "env.A: expected string, got integer");
  EXPECT_EQ(Complaint(R"({"image":"a","isolation":"none"})"),
            "isolation: unknown value \"none\"; one of vm process");
  EXPECT_EQ(Complaint("[]"), "expected object, got array");
}

}  // namespace
}  // namespace msb::json
