// SPDX-License-Identifier: Apache-2.0
// ThreadSanitizer's own thread is in every process that was forked, and the kernel lets none that
// has threads change its namespaces: these tests, whose code has one thread, cannot run with it.

#include <gtest/gtest.h>

#if defined(__SANITIZE_THREAD__)
namespace msb::network {
namespace {

class NotWithAThreadOfIts : public testing::Environment {
  void SetUp() override { GTEST_SKIP() << "ThreadSanitizer's thread: no namespaces"; }
};

const auto* const kEnvironment = testing::AddGlobalTestEnvironment(new NotWithAThreadOfIts);

}  // namespace
}  // namespace msb::network
#endif
