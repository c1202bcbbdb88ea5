// SPDX-License-Identifier: Apache-2.0
// The registers by number and name (Intel SDM volume 4; AMD APM volume 2, appendix A; KVM's own:
// Linux Documentation/virt/kvm/x86/msr.rst), and the bitmaps made of them.

#include "vmm/arch/x86_64/msr_filter.h"

#include <array>
#include <cstddef>

namespace msb::vmm {

// Not constexpr: reaching it in a constant expression is the compiler's error message.
void RegisterLiesInNoWindow();

namespace {

enum class Access : uint8_t { kRead, kWrite, kBoth };
constexpr Access kRead = Access::kRead, kWrite = Access::kWrite, kBoth = Access::kBoth;

struct AllowedMsr {
  uint32_t number;
  Access access;
};

constexpr AllowedMsr kAllowed[] = {
    {0x10, kBoth},         // TSC
    {0x11, kBoth},         // KVM wall clock, system time: the old numbers
    {0x12, kBoth},         //
    {0x17, kRead},         // PLATFORM_ID
    {0x1b, kBoth},         // APIC_BASE
    {0x3a, kRead},         // FEAT_CTL
    {0x48, kBoth},         // SPEC_CTRL
    {0x49, kWrite},        // PRED_CMD: IBPB
    {0x8b, kBoth},         // Microcode revision: written with 0 before it is read
    {0xce, kRead},         // PLATFORM_INFO
    {0xfe, kRead},         // MTRRcap
    {0x10a, kRead},        // ARCH_CAPABILITIES
    {0x10b, kWrite},       // FLUSH_CMD: L1D
    {0x122, kBoth},        // TSX_CTRL: Linux takes it for there when ARCH_CAPABILITIES says so
    {0x123, kBoth},        // MCU_OPT_CTRL
    {0x140, kBoth},        // MISC_FEATURES_ENABLES
    {0x174, kBoth},        // SYSENTER_CS, _ESP, _EIP
    {0x175, kBoth},        //
    {0x176, kBoth},        //
    {0x1a0, kBoth},        // MISC_ENABLE
    {0x277, kBoth},        // PAT
    {0x2ff, kBoth},        // MTRRdefType
    {0x345, kRead},        // PERF_CAPABILITIES: zero without counters
    {0x6e0, kBoth},        // TSC_DEADLINE
    {0xda0, kBoth},        // XSS
    {0x4b56'4d00, kBoth},  // KVM: wall clock, system time, asynchronous page faults, stolen time,
    {0x4b56'4d01, kBoth},  // end of interrupt, poll control, the acknowledgement of the third
    {0x4b56'4d02, kBoth},  //
    {0x4b56'4d03, kBoth},  //
    {0x4b56'4d04, kBoth},  //
    {0x4b56'4d05, kBoth},  //
    {0x4b56'4d06, kBoth},  //
    {0x4b56'4d07, kBoth},  //
    {0xc000'0080, kBoth},  // EFER
    {0xc000'0081, kBoth},  // STAR, LSTAR, CSTAR, SFMASK
    {0xc000'0082, kBoth},  //
    {0xc000'0083, kBoth},  //
    {0xc000'0084, kBoth},  //
    {0xc000'0100, kBoth},  // FS base, GS base, kernel GS base, TSC_AUX
    {0xc000'0101, kBoth},  //
    {0xc000'0102, kBoth},  //
    {0xc000'0103, kBoth},  //
    {0xc001'0010, kBoth},  // SYSCFG
    {0xc001'0015, kBoth},  // HWCR
    {0xc001'001f, kBoth},  // NB_CFG
    {0xc001'0055, kRead},  // Interrupt pending message
    {0xc001'0117, kRead},  // VM_HSAVE_PA
    {0xc001'011f, kBoth},  // VIRT_SPEC_CTRL
};

// The numbers lie in five places; a bitmap covers each.
constexpr size_t kWindowSize = 0x700;
constexpr uint32_t kWindows[] = {0x0, 0x700, 0x4b56'4d00, 0xc000'0000, 0xc001'0000};
constexpr size_t kWindowCount = std::size(kWindows);

using Bitmap = std::array<uint8_t, kWindowSize / 8>;
struct Bitmaps {
  std::array<Bitmap, kWindowCount> readable{};
  std::array<Bitmap, kWindowCount> writable{};
};

consteval Bitmaps MakeBitmaps() {
  Bitmaps maps;
  for (const AllowedMsr& msr : kAllowed) {
    size_t window = 0;
    while (window < kWindowCount &&
           (msr.number < kWindows[window] || msr.number - kWindows[window] >= kWindowSize))
      window++;
    if (window == kWindowCount) RegisterLiesInNoWindow();
    uint32_t bit = msr.number - kWindows[window];
    auto mask = static_cast<uint8_t>(1u << (bit % 8));
    if (msr.access != kWrite) maps.readable[window][bit / 8] |= mask;
    if (msr.access != kRead) maps.writable[window][bit / 8] |= mask;
  }
  return maps;
}

constexpr Bitmaps kBitmaps = MakeBitmaps();
constexpr std::array<MsrRange, kWindowCount> kRanges = [] {
  std::array<MsrRange, kWindowCount> ranges{};
  for (size_t i = 0; i < kWindowCount; i++)
    ranges[i] = {kWindows[i], kWindowSize, kBitmaps.readable[i], kBitmaps.writable[i]};
  return ranges;
}();

}  // namespace

std::span<const MsrRange> AllowedMsrs() { return kRanges; }

}  // namespace msb::vmm
