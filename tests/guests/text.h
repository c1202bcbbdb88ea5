// SPDX-License-Identifier: Apache-2.0
// Text: a line of a report, put together without memory of its own. What does not fit is cut off.

#pragma once

#include <cstddef>
#include <cstdint>

namespace msb::test_guest {

struct Hex {
  uint64_t value;
};

class Text {
 public:
  Text& operator<<(const char* text) {
    while (*text != '\0') Add(*text++);
    return *this;
  }
  Text& operator<<(uint64_t number) { return Digits(number, 10); }
  Text& operator<<(Hex number) { return (*this << "0x").Digits(number.value, 16); }

  Text& operator<<(const Text& text) {
    for (size_t i = 0; i < text.size_; i++) Add(text.bytes_[i]);
    return *this;
  }

  const char* data() const { return bytes_; }
  // Ends with a zero.
  const char* c_str() {
    bytes_[size_] = '\0';
    return bytes_;
  }
  size_t size() const { return size_; }

 private:
  void Add(char c) {
    if (size_ < sizeof bytes_ - 1) bytes_[size_++] = c;
  }
  Text& Digits(uint64_t number, unsigned base) {
    char digits[20];
    size_t count = 0;
    do {
      digits[count++] = "0123456789abcdef"[number % base];
      number /= base;
    } while (number != 0);
    while (count > 0) Add(digits[--count]);
    return *this;
  }

  char bytes_[240];
  size_t size_ = 0;
};

}  // namespace msb::test_guest
