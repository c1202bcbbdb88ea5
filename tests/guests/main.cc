// SPDX-License-Identifier: Apache-2.0
// Which families there are.

#include "cpu.h"
#include "machine.h"

extern "C" void Main();

namespace msb::test_guest {
namespace {

struct Named {
  const char* name;
  Family abuse;
};
constexpr Named kFamilies[] = {
    {"registers", AbuseRegisters}, {"rings", AbuseRings},     {"configuration", AbuseConfiguration},
    {"disks", AbuseDisks},         {"random", AbuseRandom},   {"balloon", AbuseBalloon},
    {"console", AbuseConsole},     {"channel", AbuseChannel}, {"races", AbuseByRaces},
};

constinit Machine machine{};

bool Equal(const char* left, const char* right) {
  while (*left != '\0' && *left == *right) left++, right++;
  return *left == *right;
}

}  // namespace
}  // namespace msb::test_guest

void Main() {
  using namespace msb::test_guest;
  StartInterruptsAndClock();
  machine.Find();
  machine.Begin();
  bool known = false;
  for (const Named& family : kFamilies) {
    if (!Equal(family.name, machine.family())) continue;
    known = true;
    family.abuse(machine);
  }
  if (!known) machine.Case("family", machine.family(), false, Text() << "there is no such family");
  machine.End();
}
