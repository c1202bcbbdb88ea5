// SPDX-License-Identifier: Apache-2.0
// The few fields of a sandbox's record, as JSON, that the program itself needs.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace msb::cli {

struct RecordView {
  std::string id;
  std::string name;
  std::string isolation;
  std::vector<std::string> missing_limits;
  std::string startup_json;  // The start-up breakdown as it stands; empty: none.
};
// What is missing or is no JSON stays empty.
RecordView ViewRecord(std::string_view record_json);
// One line on limits that the host did not let us set; empty: all are in force.
std::string LimitsNote(const RecordView& record);

}  // namespace msb::cli
