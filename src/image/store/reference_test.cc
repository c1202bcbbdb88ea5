// SPDX-License-Identifier: Apache-2.0
// The grammar, the defaults, the short names, and what is refused.
#include "image/store/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msb::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kHex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

std::string Canonical(std::string_view text) {
  auto reference = Reference::Parse(text);
  return reference.ok() ? reference->Canonical() : reference.error().message();
}

TEST(Reference, FillsInTheDefaults) {
  EXPECT_EQ(Canonical("alpine"), "docker.io/library/alpine:latest");
  EXPECT_EQ(Canonical("alpine:3.20"), "docker.io/library/alpine:3.20");
  EXPECT_EQ(Canonical("microsandbox/python"), "docker.io/microsandbox/python:latest");
  EXPECT_EQ(Canonical("docker.io/alpine"), "docker.io/library/alpine:latest");
  EXPECT_EQ(Canonical("localhost/app"), "localhost/app:latest");
  EXPECT_EQ(Canonical("localhost:5000/a/b__c-d.e:V1_x"), "localhost:5000/a/b__c-d.e:V1_x");
  EXPECT_EQ(Canonical("GHCR.example/team/app"), "ghcr.example/team/app:latest");
}

TEST(Reference, AddsNoTagBesideADigest) {
  std::string digest = std::string("@sha256:") + kHex;
  EXPECT_EQ(Canonical("alpine" + digest), "docker.io/library/alpine" + digest);
  EXPECT_EQ(Canonical("alpine:3" + digest), "docker.io/library/alpine:3" + digest);
}

TEST(Reference, RefusesWhatTheGrammarDoesNotHave) {
  for (std::string_view text :
       {"",        " ",       "a b",          "/etc",      "./dir",   "../x",
        "a/../b",  "a//b",    "a/",           ":tag",      "a:",      "a:-t",
        "a:b:c",   "a@",      "a@sha256:abc", "a@md5:00",  "A",       "a/B",
        "-a",      "a-",      "a..b",         "a___b",     "a\n",     "a%2fb",
        "a:t/b",   "h:0/a",   "h:99999/a",    "h:08/a",    "h.:80/a", "-h.x/a",
        "[::1]/a", "é",       "a+b",          "a@sha256:", "a@b@c",   "http://a/b",
        "h:/a",    "h:+80/a", "Foo/bar"})
    EXPECT_FALSE(Reference::Parse(text).ok()) << text;
  EXPECT_FALSE(Reference::Parse(std::string("a\0b", 3)).ok());
}

TEST(Reference, RefusesWhatWouldNotFitAFileName) {
  EXPECT_TRUE(Reference::Parse(std::string(200, 'a')).ok());
  EXPECT_FALSE(Reference::Parse(std::string(230, 'a')).ok());
  EXPECT_FALSE(Reference::Parse("a:" + std::string(129, 't')).ok());
}

TEST(Reference, TellsAPathFromAName) {
  auto reference = Reference::Parse("./rootfs");
  EXPECT_THAT(reference.error().message(), HasSubstr("looks like a path"));
  EXPECT_THAT(reference.error().remedy(), HasSubstr("--rootfs"));
}

TEST(Reference, EscapesWhatItQuotes) {
  EXPECT_THAT(Reference::Parse("a\x1b[2J").error().message(), testing::Not(HasSubstr("\x1b")));
}

TEST(Reference, FamiliarFormParsesAndResolvesBack) {
  for (std::string_view text :
       {"alpine", "alpine:3.20", "microsandbox/python", "library/python", "library/python:3.12",
        "docker.io/localhost/x", "docker.io/a.b/c", "localhost:5000/a:1", "library/localhost",
        "a/b/c", "docker.io/library/a/b"}) {
    Reference reference = *Reference::Parse(text);
    EXPECT_EQ(*Reference::Parse(reference.Familiar()), reference) << reference.Familiar();
    EXPECT_EQ(Resolve(reference.Familiar())->reference, reference) << reference.Familiar();
  }
  EXPECT_EQ(Reference::Parse("docker.io/library/alpine:latest")->Familiar(), "alpine");
  EXPECT_EQ(Reference::Parse("docker.io/microsandbox/python:latest")->Familiar(),
            "microsandbox/python");
}

TEST(Resolve, TakesShortNamesAndTellsTheSteps) {
  Resolution resolution = *Resolve("python");
  EXPECT_EQ(resolution.reference.Canonical(), "docker.io/microsandbox/python:latest");
  EXPECT_THAT(resolution.steps, ElementsAre("short name: python is microsandbox/python",
                                            "no registry named: docker.io", "no tag named: latest",
                                            "reference: docker.io/microsandbox/python:latest"));
  EXPECT_EQ(Resolve("node:latest")->reference.Canonical(), "docker.io/microsandbox/node:latest");
}

TEST(Resolve, LeavesOtherNamesAlone) {
  EXPECT_EQ(Resolve("python:3.12")->reference.Canonical(), "docker.io/library/python:3.12");
  EXPECT_EQ(Resolve("localhost/python")->reference.Canonical(), "localhost/python:latest");
  EXPECT_EQ(Resolve("alpine")->reference.Canonical(), "docker.io/library/alpine:latest");
  EXPECT_FALSE(Resolve("").ok());
}

}  // namespace
}  // namespace msb::store
