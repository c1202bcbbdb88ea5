// SPDX-License-Identifier: Apache-2.0
// For tests: tars made by hand, byte by byte, so that they can be wrong in every way.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "base/text.h"

namespace msb::rootfs {

struct TestEntry {
  std::string path = "file";
  char type = '0';
  std::string data = {};
  std::string link = {};
  uint32_t mode = 0644;
  uint64_t uid = 0;
  uint64_t gid = 0;
  int64_t mtime = 1;
  uint32_t major = 0;
  uint32_t minor = 0;
  std::string prefix = {};
  int64_t size = -1;  // What the header claims; -1 for the truth.
  std::string_view magic = std::string_view("ustar\00000", 8);
};

class TestTar {
 public:
  TestTar& Add(const TestEntry& entry) {
    std::string block(512, '\0');
    auto text = [&](size_t at, size_t size, std::string_view value) {
      std::memcpy(block.data() + at, value.data(), std::min(size, value.size()));
    };
    auto octal = [&](size_t at, size_t size, uint64_t value) {
      char digits[32];
      std::snprintf(digits, sizeof digits, "%0*llo", static_cast<int>(size - 1),
                    static_cast<unsigned long long>(value));
      text(at, size, digits);
    };
    text(0, 100, entry.path);
    octal(100, 8, entry.mode);
    octal(108, 8, entry.uid);
    octal(116, 8, entry.gid);
    octal(124, 12, entry.size >= 0 ? static_cast<uint64_t>(entry.size) : entry.data.size());
    octal(136, 12, static_cast<uint64_t>(entry.mtime));
    block[156] = entry.type;
    text(157, 100, entry.link);
    text(257, 8, entry.magic);
    octal(329, 8, entry.major);
    octal(337, 8, entry.minor);
    text(345, 155, entry.prefix);
    return Raw(block).Data(entry.data);
  }
  // Fills in the checksum.
  TestTar& Raw(std::string block) {
    std::memset(block.data() + 148, ' ', 8);
    unsigned sum = 0;
    for (char c : block) sum += static_cast<unsigned char>(c);
    std::snprintf(block.data() + 148, 8, "%06o", sum);
    bytes_ += block;
    return *this;
  }
  TestTar& Data(std::string_view data) {
    bytes_ += data;
    bytes_.resize((bytes_.size() + 511) / 512 * 512);
    return *this;
  }
  TestTar& Pax(std::string_view records, char type = 'x') {
    return Add({.path = "PaxHeader", .type = type, .data = std::string(records)});
  }
  std::string End(size_t zero_blocks = 2) const {
    return bytes_ + std::string(512 * zero_blocks, '\0');
  }
  const std::string& bytes() const { return bytes_; }

  // "LENGTH KEY=VALUE\n"
  static std::string Record(std::string_view key, std::string_view value) {
    size_t rest = key.size() + value.size() + 3;
    size_t length = rest + 1;
    while (std::to_string(length).size() + rest != length) ++length;
    return Cat(length, ' ', key, '=', value, '\n');
  }

 private:
  std::string bytes_;
};

}  // namespace msb::rootfs
