// SPDX-License-Identifier: Apache-2.0
// OCI documents: ours come back as they went, others' are read as far as we need them.
#include "image/store/image_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "json/value.h"

namespace msb::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Digest SomeDigest(char digit) { return *Digest::Parse("sha256:" + std::string(64, digit)); }

TEST(ImageConfig, ComesBackAsItWasWritten) {
  ImageConfig config{.entrypoint = {"/entry"},
                     .cmd = {"python3", "-c", "print(\"é\")"},
                     .env = {"PATH=/bin", "B=", "A=x=y"},
                     .user = "app:app",
                     .working_dir = "/srv",
                     .labels = {{"k", "v"}},
                     .stop_signal = "SIGINT",
                     .architecture = "amd64",
                     .os = "linux",
                     .created = "2026-01-02T03:04:05Z"};
  Descriptor layer{std::string(kRootDiskMediaType), SomeDigest('a'), 4096};
  std::string text = WriteImageConfig(config, layer);
  EXPECT_EQ(*ParseImageConfig(text), config);
  EXPECT_EQ(WriteImageConfig(*ParseImageConfig(text), layer), text);
}

TEST(ImageConfig, ReadsWhatDockerWrites) {
  ImageConfig config = *ParseImageConfig(R"({"architecture":"arm64","os":"linux","author":"x",
      "config":{"Hostname":"","Env":["PATH=/usr/bin"],"Cmd":["sh"],"Entrypoint":null,
      "Labels":null,"Volumes":null,"OnBuild":[]},"history":[{"created_by":"x"}],
      "rootfs":{"type":"layers","diff_ids":[]}})");
  EXPECT_EQ(config.architecture, "arm64");
  EXPECT_THAT(DefaultCommand(config), ElementsAre("sh"));
  EXPECT_TRUE(config.entrypoint.empty());
}

TEST(ImageConfig, DefaultCommandIsEntrypointThenCmd) {
  EXPECT_THAT(DefaultCommand({.entrypoint = {"tini", "--"}, .cmd = {"sh"}}),
              ElementsAre("tini", "--", "sh"));
  EXPECT_TRUE(DefaultCommand({}).empty());
}

TEST(ImageConfig, RefusesWhatCouldNotBecomeAProcess) {
  auto complaint = [](std::string_view config) {
    auto parsed =
        ParseImageConfig(std::string(R"({"architecture":"amd64","os":"linux","config":)") +
                         std::string(config) + "}");
    return parsed.ok() ? "accepted" : parsed.error().message();
  };
  EXPECT_EQ(complaint(R"({"Cmd":["a\u0000b"]})"), "config.Cmd: holds a NUL");
  EXPECT_EQ(complaint(R"({"WorkingDir":"\u0000"})"), "config.WorkingDir: holds a NUL");
  EXPECT_THAT(complaint(R"({"Env":["A"]})"), HasSubstr("\"A\" is not NAME=value"));
  EXPECT_THAT(complaint(R"({"Env":["=x"]})"), HasSubstr("is not NAME=value"));
  EXPECT_THAT(complaint(R"({"Env":[""]})"), HasSubstr("is not NAME=value"));
  EXPECT_EQ(complaint(R"({"Cmd":"sh"})"), "config.Cmd: expected array, got string");
}

TEST(Manifest, IsAnOciManifest) {
  Descriptor config{std::string(kConfigMediaType), SomeDigest('b'), 10};
  Descriptor layer{std::string(kRootDiskMediaType), SomeDigest('a'), 4096};
  std::string text = WriteManifest(config, layer);
  auto document = *json::Document::Parse(text);
  EXPECT_EQ(*(*document.root().Field("schemaVersion")).Integer(), 2);
  auto layers = *(*document.root().Field("layers")).Items();
  EXPECT_EQ(*(*layers[0].Field("digest")).String(), SomeDigest('a').ToString());
  EXPECT_EQ(WriteManifest(config, layer), text);
}

}  // namespace
}  // namespace msb::store
