// SPDX-License-Identifier: Apache-2.0
// A home in a temporary directory and images small enough to read in a debugger; for tests.

#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "image/store/store.h"
#include "sys/file.h"

namespace msb::store {

class TempHome {
 public:
  TempHome() {
    std::string path = ::testing::TempDir() + "msb-store-XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    path_ = path;
    fd_ = *sys::OpenAt(sys::Cwd(), path_, O_RDONLY | O_DIRECTORY);
  }
  TempHome(const TempHome&) = delete;
  TempHome& operator=(const TempHome&) = delete;
  ~TempHome() { (void)sys::RemoveTreeAt(sys::Cwd(), path_); }

  BorrowedFd fd() const { return fd_; }
  const std::string& path() const { return path_; }

  // Every regular file below images/, but the layout's own two.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    Walk(fd_, "images", files);
    std::erase(files, "images/oci-layout");
    std::erase(files, "images/lock");
    return files;
  }

 private:
  static void Walk(BorrowedFd dir, const std::string& path, std::vector<std::string>& files) {
    auto sub = sys::OpenAt(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!sub) return;
    std::vector<std::string> names = *sys::ListDirectory(*sub);
    for (const std::string& name : names) {
      std::string below = path + "/" + name;
      auto found = *sys::FindAt(dir, below);
      if (found && S_ISDIR(found->st_mode))
        Walk(dir, below, files);
      else
        files.push_back(below);
    }
  }

  std::string path_;
  UniqueFd fd_;
};

inline Digest SomeDigest(char digit) { return *Digest::Parse("sha256:" + std::string(64, digit)); }

inline Reference Named(std::string_view text) { return *Reference::Parse(text); }

// Documents whose digests are `digit` and the next one: the store believes its caller.
inline ImageDocuments SomeDocuments(char digit, std::string_view command = "sh") {
  ImageConfig config{.cmd = {std::string(command)}, .architecture = "amd64", .os = "linux"};
  Descriptor layer{std::string(kRootDiskMediaType), SomeDigest('f'), 8192};
  std::string text = WriteImageConfig(config, layer);
  Digest config_digest = SomeDigest(static_cast<char>(digit + 1));
  Descriptor described{std::string(kConfigMediaType), config_digest, text.size()};
  return {config_digest, text, SomeDigest(digit), WriteManifest(described, layer)};
}

// As much of an EROFS image as the store looks at.
inline Result<void> WriteSmallDisk(BorrowedFd disk) {
  std::byte magic[4];
  StoreLittle<uint32_t>(magic, 0xE0F5E1E2);
  TRY(sys::WriteAllAt(disk, magic, 1024));
  return sys::Truncate(disk, 8192);
}

inline Result<Image> AddImage(Store& store, std::string_view name, char digit,
                              StagingMode mode = StagingMode::kUnnamed) {
  StagedImage staged = TRY(store.Stage(mode));
  TRY(WriteSmallDisk(staged.disk()));
  return std::move(staged).Commit(Named(name), SomeDocuments(digit), {});
}

}  // namespace msb::store
