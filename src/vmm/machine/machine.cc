// SPDX-License-Identifier: Apache-2.0
// The order of making, and the end.

#include "vmm/machine/machine.h"

#include "base/text.h"
#include "base/units.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/elf_kernel.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/arch/x86_64/mp_table.h"
#include "vmm/arch/x86_64/msr_filter.h"
#include "vmm/arch/x86_64/start_info.h"
#include "vmm/arch/x86_64/vcpu_state.h"

namespace msb::vmm {
namespace {

Result<void> CheckSpec(const MachineSpec& spec) {
  if (spec.cpus < 1 || spec.cpus > kMaxCpus)
    return Error(Code::kInvalidArgument, Cat(spec.cpus, " CPUs: 1 to ", kMaxCpus));
  if (spec.memory_bytes < kMinMemoryBytes || spec.memory_bytes % kPageBytes != 0)
    return Error(Code::kInvalidArgument,
                 Cat(spec.memory_bytes, " bytes of memory: whole pages, at least ",
                     FormatSize(kMinMemoryBytes)));
  return {};
}

// Everything of the machine that comes before its first processor.
Result<void> PrepareVm(const Vm& vm, const GuestMemory& memory) {
  TRY(vm.SplitIrqchip());
  TRY(vm.SetTssAddress(kTssAddress));
  TRY(vm.SetMsrFilter(AllowedMsrs()));
  uint32_t slot = 0;
  for (const GuestMemory::Region& region : memory.regions())
    TRY(vm.SetMemory(slot++, region.start.value, {region.host, region.size}));
  return {};
}

}  // namespace

Machine::Machine(const MachineSpec& spec, GuestMemory memory, Vm vm, event::Loop& loop)
    : spec_(spec),
      loop_(loop),
      memory_(std::move(memory)),
      vm_(std::move(vm)),
      io_apic_(static_cast<uint8_t>(spec.cpus), Devices::kPins,
               [this](uint32_t address, uint32_t data) {
                 // Fails when the guest named a processor that does not exist: its own loss.
                 (void)vm_.SignalMessage(address, data).ok();
               }),
      device_thread_(loop) {}

Result<std::unique_ptr<Machine>> Machine::Create(const MachineSpec& spec, Vm vm, MachineFiles files,
                                                 MachineHooks hooks, event::Loop& loop) {
  TRY(CheckSpec(spec));
  auto memory = TRY(GuestMemory::Create(spec.memory_bytes).Context("guest memory"));
  std::unique_ptr<Machine> machine(new Machine(spec, std::move(memory), std::move(vm), loop));
  auto confine = machine->confine_ = std::move(hooks.confine);
  machine->worker_ = TRY(BlockWorker::Start(
      confine ? std::function<void()>([confine] { confine(ThreadClass::kWorker); }) : nullptr));
  machine->devices_ =
      TRY(Devices::Create(std::move(files.devices), std::move(hooks.events), machine->memory_,
                          machine->io_apic_, machine->device_thread_, loop, *machine->worker_));
  machine->addresses_.emplace(machine->io_apic_, machine->devices_->transports());
  TRY(machine->LoadGuest(files));
  TRY(VcpuThread::PrepareSignal());
  return machine;
}

Result<void> Machine::LoadGuest(const MachineFiles& files) {
  auto kernel = TRY(LoadKernel(files.kernel, memory_));
  auto initramfs = TRY(LoadInitramfs(files.initramfs, memory_, kernel.end));
  entry_ = kernel.entry;
  TRY(WriteMpTable(memory_, spec_.cpus, Devices::kPins));
  return WriteStartInfo(memory_, KernelCommandLine(spec_.console, devices_->windows()), initramfs);
}

Result<void> Machine::SetUpKvm(Kvm kvm) {
  auto bound = BindToKvm(kvm);
  if (!bound) return kvm.Explain(std::move(bound).error());
  return {};
}

Result<void> Machine::BindToKvm(const Kvm& kvm) {
  TRY(PrepareVm(vm_, memory_));
  TRY(devices_->BindKicks(vm_, loop_));
  return MakeCpus(TRY(kvm.SupportedCpuid()));
}

Result<void> Machine::MakeCpus(std::span<const kvm_cpuid_entry2> supported) {
  auto cpuid = MakeCpuid(supported, spec_.cpus);
  for (uint32_t index = 0; index < spec_.cpus; index++) {
    auto cpu = TRY(vm_.CreateVcpu(index));
    SetApicId(cpuid, index);
    TRY(cpu.SetCpuid(cpuid));
    if (uint64_t states = ExtendedStates(cpuid); states != 0) TRY(cpu.SetExtendedStates(states));
    if (index == 0) {
      TRY(cpu.SetSpecialRegisters(PvhSpecialRegisters()));
      TRY(cpu.SetRegisters(PvhRegisters(entry_, kStartInfoAddress)));
    }
    VcpuThread::Parts parts;
    parts.addresses = &*addresses_;
    if (confine_) parts.on_start = [confine = confine_] { confine(ThreadClass::kVcpu); };
    parts.on_end = [this](Outcome outcome) {
      loop_.Post([this, outcome = std::move(outcome)] { End(outcome); });
    };
    cpus_.push_back(std::make_unique<VcpuThread>(index, std::move(cpu), std::move(parts)));
  }
  return {};
}

void Machine::Start() {
  for (auto& cpu : cpus_) cpu->Go();
}

// The first one decides: what the others meet afterwards follows from it.
void Machine::End(Outcome outcome) {
  if (!ended_) ended_ = std::move(outcome);
  loop_.Stop();
}

Machine::~Machine() {
  device_thread_.Close();
  cpus_.clear();
}

}  // namespace msb::vmm
