// SPDX-License-Identifier: Apache-2.0
// A refused call waits in the kernel until it is answered here.

#include "programs/microbox/calls.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/log.h"
#include "base/text.h"
#include "jail/box/policy.h"
#include "jail/box/profile.h"
#include "sys/file.h"

namespace msb::microbox {
namespace {

// 20 000 answers a second: a flood of refused calls costs us, who are in none of the sandbox's
// limits, a fraction of a processor, and the sandbox waits.
constexpr size_t kAnswersInWindow = 200;
constexpr auto kWindow = std::chrono::milliseconds(10);

BorrowedFd Stderr() { return BorrowedFd::Raw(2); }

std::vector<box::CallRule> RulesOf(const Options& options) {
  std::vector<box::CallRule> rules;
  for (const std::string& call : options.allow_calls)
    rules.push_back({.allow = true, .call = call, .whole = true, .origin = "--allow-syscall"});
  for (const std::string& call : options.deny_calls)
    rules.push_back({.allow = false, .call = call, .whole = true, .origin = "--deny-syscall"});
  return rules;
}

// Whose call it is, by name; the sandbox chooses that name.
std::string Caller(BorrowedFd listener, const sys::AskedCall& call) {
  auto name = sys::ReadFileAt(sys::Cwd(), Cat("/proc/", call.pid, "/comm"), 64);
  if (!name || !sys::AskedCallWaits(listener, call.id)) return "";
  while (name->ends_with('\n')) name->pop_back();
  return Escape(*name, 64);
}

// Our stderr such that a reader who has stopped does not stop us: that there is room is no promise
// where the sandbox writes to the same pipe. None where it cannot be had.
UniqueFd StderrThatNeverWaits() {
  auto fd = sys::OpenWithoutWaiting(Stderr());
  auto info = sys::Stat(Stderr());
  if (!fd && info && S_ISREG(info->st_mode)) fd = sys::Duplicate(Stderr());
  return fd ? *std::move(fd) : UniqueFd();
}

}  // namespace

Result<Calls> Calls::Make(Options& options) {
  Calls calls;
  box::Spec& spec = options.spec;
  spec.filter = &box::kDefaultFilter;
  spec.on_refusal = !options.learn.empty() ? box::OnRefusal::kLearn
                    : options.log_denied   ? box::OnRefusal::kAsk
                                           : box::OnRefusal::kAnswer;
  auto rules = RulesOf(options);
  if (!options.profile.empty()) calls.profile_ = TRY(LoadProfile(options.profile));
  rules.insert(rules.end(), calls.profile_.begin(), calls.profile_.end());
  calls.opens_sockets_ =
      !options.learn.empty() || std::any_of(rules.begin(), rules.end(), [](const auto& rule) {
        // The second makes sockets by an operation of its own.
        return rule.allow && (rule.call == "socket" || rule.call == "io_uring_setup");
      });
  bool asks = spec.on_refusal != box::OnRefusal::kAnswer;
  if (rules.empty() && !asks) return calls;
  auto policy = TRY(box::CallPolicy::Create(rules));
  calls.code_ = std::make_unique<jail::FilterBuffer>(TRY(policy.Compile(spec.on_refusal)));
  calls.filter_ = std::make_unique<jail::Filter>(calls.code_->View());
  spec.filter = calls.filter_.get();
  if (!asks) return calls;
  if (!options.learn.empty()) calls.learnt_ = TRY(LearntFile::Prepare(options.learn));
  calls.policy_ = std::move(policy);
  calls.refused_.emplace();
  calls.command_ = spec.argv[0];
  calls.shown_ = options.log_denied;
  calls.json_ = options.log_json;
  return calls;
}

void Calls::Begin(UniqueFd listener, bool live) {
  listener_ = std::move(listener);
  if (shown_ && live) live_ = StderrThatNeverWaits();
}

pollfd Calls::Prepare() const { return {listener_ && !Rests() ? listener_.get() : -1, POLLIN, 0}; }

int Calls::Timeout(int timeout) const {
  if (!listener_ || !Rests()) return timeout;
  int rest = window_.PollTimeout();
  return timeout == -1 ? rest : std::min(timeout, rest);
}

void Calls::Serve(const pollfd& waited) {
  if (waited.fd == -1 || waited.revents == 0) return;
  if (window_.Passed()) {
    left_ = kAnswersInWindow;
    window_ = Deadline::After(kWindow);
  }
  for (; left_ > 0; left_--) {
    pollfd next{listener_.get(), POLLIN, 0};
    if (::poll(&next, 1, 0) != 1) return;
    auto call = (next.revents & POLLIN) != 0 ? sys::ReceiveAskedCall(listener_)
                                             : Error(Code::kNotFound, "nobody is left");
    // Without a listener the kernel answers: ENOSYS.
    if (!call || (*call && !Answer(**call))) {
      listener_.Reset();
      return;
    }
  }
}

Result<void> Calls::Answer(const sys::AskedCall& call) {
  auto decision = policy_->Decide(call.number, call.arguments);
  // What the filter asked about is never allowed; were it, the answer is no all the same.
  int error = decision.error == 0 ? EPERM : decision.error;
  auto kind = box::KindOf(call.number, call.arguments);
  std::string_view why;
  if (learnt_) why = decision.by_rule ? "a rule denies it" : box::WhyNotLearnt(kind);
  bool goes_on = learnt_ && why.empty();
  bool first = refused_->Note(kind, error, goes_on, why);
  if (first && live_) TellFirst(refused_->kinds().back(), call);
  return goes_on ? sys::ContinueAskedCall(listener_, call.id)
                 : sys::RefuseAskedCall(listener_, call.id, error);
}

void Calls::TellFirst(const box::Refusal& refusal, const sys::AskedCall& call) const {
  std::string by = Caller(listener_, call);
  std::string line = json_
                         ? LogLine(LogLevel::kWarn,
                                   refusal.continued ? "system call learnt" : "system call refused",
                                   {{"call", box::CallName(refusal.kind.number)},
                                    {"arguments", box::KindArguments(refusal.kind)},
                                    {"error", box::ErrorName(refusal.error)},
                                    {"by", by}})
                         : Cat("microbox: ", refusal.continued ? "learnt: " : "refused: ",
                               box::KindText(refusal.kind), ": ", box::ErrorName(refusal.error),
                               by.empty() ? "" : ", by ", by, "\n");
  // What finds no room is told at the end.
  (void)sys::WriteSome(live_, std::as_bytes(std::span(line)));
}

Result<void> Calls::Finish() const {
  if (shown_) TellAll();
  return learnt_ ? WriteLearnt() : Result<void>();
}

Result<void> Calls::WriteLearnt() const {
  auto kinds = refused_->kinds();
  auto learnt = static_cast<size_t>(std::count_if(
      kinds.begin(), kinds.end(), [](const box::Refusal& one) { return one.continued; }));
  TRY(learnt_->Write(box::LearntProfile(command_, profile_, *refused_)));
  if (json_) {
    WriteLog(LogLevel::kWarn, "profile written",
             {{"file", learnt_->path()}, {"learnt", learnt}, {"refused", kinds.size() - learnt}});
    return {};
  }
  return sys::WriteAll(
      Stderr(), Cat("microbox: ", Escape(learnt_->path(), 256), ": ", learnt,
                    " kinds of calls learnt, ", kinds.size() - learnt, " refused all the same\n"));
}

void Calls::TellAll() const {
  auto kinds = refused_->kinds();
  if (json_) {
    for (const box::Refusal& one : kinds)
      WriteLog(LogLevel::kWarn, one.continued ? "system calls learnt" : "system calls refused",
               {{"call", box::CallName(one.kind.number)},
                {"arguments", box::KindArguments(one.kind)},
                {"error", box::ErrorName(one.error)},
                {"count", one.count}});
    if (refused_->others() > 0)
      WriteLog(LogLevel::kWarn, "more kinds of system calls refused",
               {{"count", refused_->others()}});
    return;
  }
  std::string text = kinds.empty() ? "microbox: no system call was refused\n"
                                   : "microbox: refused system calls:\n";
  for (const box::Refusal& one : kinds) {
    std::string count = Cat(one.count);
    text += Cat(std::string(count.size() < 8 ? 8 - count.size() : 0, ' '), count, " x ",
                box::KindText(one.kind), ": ", box::ErrorName(one.error),
                one.continued ? ", but learnt" : "", "\n");
  }
  if (refused_->others() > 0) text += Cat("  and ", refused_->others(), " calls of more kinds\n");
  (void)sys::WriteAll(Stderr(), text);
}

}  // namespace msb::microbox
