// SPDX-License-Identifier: Apache-2.0
// The hand-over as JSON.

#include "sandbox/handover.h"

#include "sandbox/spec_json.h"

template <>
struct msb::json::Fields<msb::jail::SubordinateSpan> {
  using S = msb::jail::SubordinateSpan;
  static constexpr auto kTable =
      std::array{Required<&S::first_uid>("first_uid"), Required<&S::first_gid>("first_gid"),
                 Required<&S::count>("count")};
};

template <>
struct msb::json::Fields<msb::sandbox::Handover> {
  using H = msb::sandbox::Handover;
  static constexpr auto kTable = std::array{
      Required<&H::spec>("spec"),
      Required<&H::started_ns>("started_ns"),
      Required<&H::vmm>("vmm"),
      Required<&H::kernel>("kernel"),
      Required<&H::initramfs>("initramfs"),
      Required<&H::agent>("agent"),
      Required<&H::root_locked>("root_locked"),
      Required<&H::ids>("ids"),
      Required<&H::any_ids>("any_ids"),
      Required<&H::one_id_because>("one_id_because"),
      Required<&H::runtime_dir>("runtime_dir"),
      Required<&H::bus_address>("bus_address"),
      Required<&H::boot_deadline_ms>("boot_deadline_ms"),
  };
};

namespace msb::sandbox {

std::string ToJson(const Handover& handover) { return json::Encode(handover); }

Result<Handover> ParseHandover(std::string_view text) { return json::Decode<Handover>(text); }

}  // namespace msb::sandbox
