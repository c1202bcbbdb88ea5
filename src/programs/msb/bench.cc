// SPDX-License-Identifier: Apache-2.0
// msb bench start: N starts of whole `msb exe` processes, three clocks apart.
//
//   R  guest runs          from the caller's start to the guest's reset, by the supervisor
//   U  agent said hello    likewise
//   E  first byte of output, from our fork of msb to our read of the byte
//   wall                   from our fork to the exit of msb, when everything is gone again

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <map>
#include <optional>

#include "base/json_writer.h"
#include "base/text.h"
#include "base/units.h"
#include "json/value.h"
#include "programs/msb/bench_stats.h"
#include "programs/msb/commands.h"
#include "programs/msb/isolation.h"
#include "programs/msb/root.h"
#include "programs/msb/ui.h"
#include "sys/file.h"
#include "sys/process.h"

namespace msb::cli {

namespace {

struct Start {
  int64_t first_output_ns = 0;
  int64_t wall_ns = 0;
  std::string isolation;
  std::map<std::string, int64_t> steps_ns;  // From the status: step to time.
};

// Reads to the end; the time of the first byte.
Result<std::optional<Clock::time_point>> ReadToEnd(BorrowedFd fd, std::string* into) {
  std::optional<Clock::time_point> first;
  std::array<std::byte, 4096> buffer;
  while (true) {
    size_t count = TRY(sys::ReadSome(fd, buffer));
    if (count == 0) return first;
    if (!first) first = Clock::now();
    if (into != nullptr) into->append(reinterpret_cast<const char*>(buffer.data()), count);
  }
}

Result<void> ReadStatus(std::string_view text, Start& start) {
  auto document = TRY(json::Document::Parse(text));
  json::Value root = document.root();
  if (auto isolation = TRY(root.FindField("isolation")); isolation && !isolation->is_null())
    start.isolation = TRY(isolation->String());
  auto steps = TRY(root.FindField("startup"));
  if (!steps || steps->is_null()) return {};
  for (const json::Value& step : TRY(steps->Items())) {
    std::string name = TRY(TRY(step.Field("step")).String());
    start.steps_ns[name] = TRY(TRY(step.Field("at_us")).Integer()) * 1000;
  }
  return {};
}

std::vector<std::string> CommandLineOf(const BenchStartOptions& options, const std::string& self) {
  std::vector<std::string> argv = {self,
                                   "exe",
                                   "--quiet",
                                   "--no-stdin",
                                   "--no-tty",
                                   "--status-fd",
                                   "3",
                                   Cat("--cpus=", options.cpus),
                                   Cat("--memory=", options.memory_bytes / kMiB, "M")};
  if (options.isolation) argv.push_back(Cat("--isolation=", sandbox::Name(*options.isolation)));
  argv.insert(argv.end(), {options.image, "--"});
  if (options.command.empty())
    argv.insert(argv.end(), {"/bin/echo", "ready"});
  else
    argv.insert(argv.end(), options.command.begin(), options.command.end());
  return argv;
}

Result<Start> StartOnce(const std::vector<std::string>& argv) {
  auto output = TRY(sys::MakePipe());
  // A file: nothing has to read it meanwhile.
  auto status = TRY(sys::MemFd("status"));
  auto began = Clock::now();
  auto child = TRY(sys::Spawn({.argv = argv,
                               .env = sys::CurrentEnvironment(),
                               .fds = {{output.write.get(), 1}, {status.get(), 3}}}));
  output.write.Reset();
  auto first = TRY(ReadToEnd(output.read, nullptr));
  auto exit = TRY(child.Wait(Deadline::Never()));
  auto ended = Clock::now();
  if (exit.signaled || exit.code != 0)
    return Error(Code::kFailedPrecondition, Cat("the start to be measured ended with ",
                                                exit.signaled ? "signal " : "code ", exit.code))
        .Remedy(Cat("try it: ", Join(argv, " ")));
  Start start;
  // A command without output: its end is the nearest thing to a first byte.
  start.first_output_ns = std::chrono::nanoseconds(first.value_or(ended) - began).count();
  start.wall_ns = std::chrono::nanoseconds(ended - began).count();
  if (::lseek(status.get(), 0, SEEK_SET) == -1) return Error::Errno("lseek status");
  std::string text = TRY(sys::ReadAll(status, size_t{1} << 20));
  TRY(ReadStatus(text, start).Context("status of the run"));
  return start;
}

// What a cold start has to read from the disk again.
Result<void> DropFromPageCache(const std::string& image) {
  auto home = TRY(sandbox::Home::Open());
  auto root = TRY(FindRoot(home, image, sandbox::Isolation::kVm));
  auto parts = TRY(sandbox::FindParts(sandbox::Isolation::kVm));
  auto drop = [](BorrowedFd fd) -> Result<void> {
    (void)sys::Sync(fd);
    if (int error = ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED); error != 0)
      return Error::Errno("posix_fadvise", error);
    return {};
  };
  TRY(drop(root.source.root));
  for (const std::string& path : {parts.supervisor, parts.kernel, parts.initramfs}) {
    auto file = TRY(sys::OpenAt(sys::Cwd(), path, O_RDONLY));
    TRY(drop(file));
  }
  return {};
}

std::string CpuModel() {
  auto info = sys::ReadFileAt(sys::Cwd(), "/proc/cpuinfo", size_t{16} << 20);
  if (!info) return "unknown";
  for (const std::string& line : Split(*info, '\n'))
    if (line.starts_with("model name"))
      return line.substr(std::min(line.find(':') + 2, line.size()));
  return "unknown";
}

// The clocks by name: R and U where the record has their steps.
std::map<std::string, std::vector<int64_t>> ClocksOf(const std::vector<Start>& starts) {
  std::map<std::string, std::vector<int64_t>> clocks;
  for (const Start& start : starts) {
    clocks["E"].push_back(start.first_output_ns);
    clocks["wall"].push_back(start.wall_ns);
    auto step = [&](const char* clock, const char* name) {
      if (auto found = start.steps_ns.find(name); found != start.steps_ns.end())
        clocks[clock].push_back(found->second);
    };
    step("R", "guest reset");
    step("U", "hello");
  }
  return clocks;
}

std::string JsonOf(const BenchStartOptions& options, const std::vector<Start>& starts) {
  struct utsname host {};
  ::uname(&host);
  JsonWriter json;
  json.BeginObject().Key("bench").String("start");
  json.Key("version").String(MSB_VERSION);
  json.Key("host").BeginObject();
  json.Key("cpu").String(CpuModel());
  json.Key("cpus").Number(::sysconf(_SC_NPROCESSORS_ONLN));
  json.Key("kernel").String(host.release).Key("machine").String(host.machine).EndObject();
  json.Key("guest").BeginObject().Key("cpus").Number(options.cpus);
  json.Key("memory_bytes").Number(options.memory_bytes).EndObject();
  json.Key("image").String(options.image);
  json.Key("isolation").String(starts[0].isolation);
  json.Key("page_cache").String(options.cold ? "cold" : "warm");
  json.Key("runs").Number(starts.size());
  json.Key("clocks_ns").BeginObject();
  for (const auto& [name, values] : ClocksOf(starts)) {
    Stats stats = StatsOf(values);
    json.Key(name).BeginObject().Key("min").Number(stats.min);
    json.Key("median").Number(stats.median).Key("p95").Number(stats.p95);
    json.Key("values").BeginArray();
    for (int64_t value : values) json.Number(value);
    json.EndArray().EndObject();
  }
  json.EndObject().Key("steps_median_ns").BeginObject();
  std::map<std::string, std::vector<int64_t>> steps;
  for (const Start& start : starts)
    for (const auto& [name, at] : start.steps_ns) steps[name].push_back(at);
  for (const auto& [name, values] : steps) json.Key(name).Number(StatsOf(values).median);
  json.EndObject().EndObject();
  return std::move(json).Take() + "\n";
}

std::string Milliseconds(int64_t ns) {
  int64_t tenths = (ns + 50'000) / 100'000;
  return Cat(tenths / 10, ".", tenths % 10, " ms");
}

std::string TextOf(const BenchStartOptions& options, const std::vector<Start>& starts) {
  struct utsname host {};
  ::uname(&host);
  auto clocks = ClocksOf(starts);
  Table table({"CLOCK", "MIN", "MEDIAN", "P95"});
  auto row = [&](const std::string& label, const char* clock) {
    auto found = clocks.find(clock);
    if (found == clocks.end()) return;
    Stats stats = StatsOf(found->second);
    table.Add(
        {label, Milliseconds(stats.min), Milliseconds(stats.median), Milliseconds(stats.p95)});
  };
  row("R  guest runs", "R");
  row("U  agent said hello", "U");
  row("E  first byte at the caller", "E");
  row("   whole command", "wall");
  return Cat(starts.size(), " starts of ", options.image, ", ", starts[0].isolation, ", ",
             options.cpus, " cpu, ", FormatSize(options.memory_bytes), ", page cache ",
             options.cold ? "cold" : "warm", "\n", CpuModel(), ", ",
             ::sysconf(_SC_NPROCESSORS_ONLN), " cpus, Linux ", host.release, "\n\n",
             table.Text(UseColor(1)));
}

Result<std::vector<Start>> Measure(const BenchStartOptions& options) {
  if (options.runs == 0 || options.runs > 10'000)
    return Error(Code::kInvalidArgument, Cat("--runs ", options.runs, ": not from 1 to 10000"));
  std::string self = TRY(sys::ReadLinkAt(sys::Cwd(), "/proc/self/exe"));
  auto argv = CommandLineOf(options, self);
  // Fills the page cache, and fails before anything is counted.
  auto isolation = options.isolation;
  if (!isolation) isolation = TRY(IsolationOfEnvironment(sys::GetEnv));
  if (options.cold && isolation == sandbox::Isolation::kProcess)
    return Error(Code::kInvalidArgument,
                 "--cold: a root tree is many files, which stay in the cache")
        .Remedy("leave --cold out with --isolation process");
  if (!options.cold) TRY(StartOnce(argv));
  Progress progress(!options.json);
  std::vector<Start> starts;
  for (uint32_t i = 0; i < options.runs; i++) {
    if (options.cold) TRY(DropFromPageCache(options.image).Context("--cold"));
    progress.Show(Cat("start ", i + 1, " of ", options.runs));
    starts.push_back(TRY(StartOnce(argv)));
  }
  return starts;
}

}  // namespace

int RunBenchStart(const BenchStartOptions& options) {
  Format format = options.json ? Format::kJson : Format::kText;
  auto starts = Measure(options);
  if (!starts) return Fail(starts.error(), format, kExitFailed);
  Print(options.json ? JsonOf(options, *starts) : TextOf(options, *starts));
  return 0;
}

}  // namespace msb::cli
