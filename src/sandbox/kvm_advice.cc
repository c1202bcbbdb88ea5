// SPDX-License-Identifier: Apache-2.0
// The troubleshooting of KVM: modules, the kvm group, firmware settings, nested machines, WSL2.

#include "sandbox/kvm_advice.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "sys/file.h"

namespace msb::sandbox {
namespace {

bool HasWord(std::string_view line, std::string_view word) {
  for (size_t at = line.find(word); at != line.npos; at = line.find(word, at + 1)) {
    bool begins = at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t';
    size_t after = at + word.size();
    if (begins && (after == line.size() || line[after] == ' ')) return true;
  }
  return false;
}

// Fields of the line of /etc/passwd or /etc/group whose field `index` is `value`.
std::vector<std::string> FindEntry(const std::string& file, size_t index, std::string_view value) {
  auto text = sys::ReadFileAt(sys::Cwd(), file, 4 << 20);
  if (!text) return {};
  for (const std::string& line : Split(*text, '\n')) {
    auto fields = Split(line, ':');
    if (fields.size() >= 4 && fields[index] == value) return fields;
  }
  return {};
}

void ReadGroup(KvmSurroundings& around) {
  auto device = sys::FindAt(sys::Cwd(), "/dev/kvm");
  if (auto user = FindEntry("/etc/passwd", 2, Cat(::getuid())); !user.empty())
    around.user = user[0];
  if (!device || !*device) return;
  gid_t gid = (*device)->st_gid;
  auto group = FindEntry("/etc/group", 2, Cat(gid));
  if (!group.empty()) {
    around.kvm_group = group[0];
    auto members = Split(group[3], ',');
    around.in_group_file = std::find(members.begin(), members.end(), around.user) != members.end();
  }
  std::array<gid_t, 256> groups;
  int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  around.group_is_active =
      ::getegid() == gid || (count > 0 && std::find(groups.begin(), groups.begin() + count, gid) !=
                                              groups.begin() + count);
}

std::string AbsentFix(const KvmSurroundings& around) {
  if (around.wsl)
    return "in %UserProfile%\\.wslconfig put nestedVirtualization=true under [wsl2], then run "
           "wsl --shutdown";
  if (around.cpu_has_virtualization && !around.module_loaded)
    return Cat("load the module: sudo modprobe ", around.cpu_is_amd ? "kvm_amd" : "kvm_intel");
  if (around.is_guest)
    return "this host is a virtual machine: switch on nested virtualization at its provider, or "
           "use "
           "a machine of metal";
  return "switch on virtualization (Intel VT-x, AMD-V or SVM) in the firmware (BIOS) settings";
}

std::string ForbiddenFix(const KvmSurroundings& around) {
  if (around.kvm_group.empty() || around.kvm_group == "root")
    return "sudo chgrp kvm /dev/kvm; sudo chmod 660 /dev/kvm; sudo usermod -aG kvm $USER; log in "
           "anew";
  std::string user = around.user.empty() ? "$USER" : around.user;
  if (around.in_group_file && !around.group_is_active)
    return Cat("you are in the group ", around.kvm_group,
               " but this session began before: log in anew, or run: newgrp ", around.kvm_group);
  if (around.group_is_active)
    return Cat("sudo chmod 660 /dev/kvm (the group ", around.kvm_group, " may not open it)");
  return Cat("sudo usermod -aG ", around.kvm_group, " ", user, "; then log in anew");
}

}  // namespace

KvmSurroundings ReadKvmSurroundings() {
  KvmSurroundings around;
  if (auto cpuinfo = sys::ReadFileAt(sys::Cwd(), "/proc/cpuinfo", 16 << 20)) {
    for (const std::string& line : Split(std::string_view(*cpuinfo).substr(0, 16384), '\n')) {
      if (line.starts_with("vendor_id")) around.cpu_is_amd = line.ends_with("AuthenticAMD");
      if (!line.starts_with("flags")) continue;
      around.cpu_has_virtualization = HasWord(line, "vmx") || HasWord(line, "svm");
      around.is_guest = HasWord(line, "hypervisor");
      break;
    }
  }
  for (const char* module : {"/sys/module/kvm_intel", "/sys/module/kvm_amd"})
    if (auto found = sys::FindAt(sys::Cwd(), module); found && *found) around.module_loaded = true;
  if (auto version = sys::ReadFileAt(sys::Cwd(), "/proc/version", 4096))
    around.wsl = version->find("icrosoft") != version->npos;
  ReadGroup(around);
  return around;
}

KvmAnswer AdviseKvm(const KvmTrial& trial, const KvmSurroundings& around) {
  switch (trial.failure) {
    case KvmFailure::kNone:
      return {true, "", ""};
    case KvmFailure::kAbsent:
      return {false, "this host has no /dev/kvm", AbsentFix(around)};
    case KvmFailure::kForbidden:
      return {false, "/dev/kvm is not yours to open", ForbiddenFix(around)};
    case KvmFailure::kVersion:
      return {false, "/dev/kvm is there and is not KVM's device",
              "look what it is: ls -l /dev/kvm (KVM's is a character device, 10, 232); remove it, "
              "then sudo modprobe kvm"};
    case KvmFailure::kOpen:
    case KvmFailure::kSetUp:
      return {false, "KVM on this host could not make a machine",
              "look at what the kernel says: sudo dmesg | grep -i kvm"};
    case KvmFailure::kCannotRun:
      return {false, "KVM on this host cannot run ordinary guests",
              around.is_guest
                  ? "this host is a virtual machine whose nested KVM is incomplete: use a "
                    "machine of metal, or one with hardware nested virtualization"
                  : "look at what the kernel says: sudo dmesg | grep -i kvm"};
    case KvmFailure::kHung:
      return {false, "a guest of a few instructions did not end on this host's KVM",
              "try again when the host is less busy: msb doctor"};
  }
  return {false, "KVM gave an unknown answer", ""};
}

}  // namespace msb::sandbox
