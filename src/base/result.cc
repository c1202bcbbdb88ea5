// SPDX-License-Identifier: Apache-2.0
// Error's few functions that are not worth inlining.

#include "base/result.h"

namespace msb {

Code CodeFromErrno(int err) {
  switch (err) {
    case ENOENT:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
      return Code::kPermissionDenied;
    case EINVAL:
      return Code::kInvalidArgument;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
      return Code::kResourceExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    default:
      return Code::kInternal;
  }
}

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "invalid_argument";
    case Code::kNotFound:
      return "not_found";
    case Code::kAlreadyExists:
      return "already_exists";
    case Code::kPermissionDenied:
      return "permission_denied";
    case Code::kFailedPrecondition:
      return "failed_precondition";
    case Code::kResourceExhausted:
      return "resource_exhausted";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kDeadlineExceeded:
      return "deadline_exceeded";
    case Code::kDataLoss:
      return "data_loss";
    case Code::kUnimplemented:
      return "unimplemented";
    case Code::kInternal:
      return "internal";
  }
  return "internal";
}

Error Error::Errno(std::string_view what, int err) {
  const char* text = strerrordesc_np(err);
  Error e(CodeFromErrno(err),
          std::string(what) + ": " + (text != nullptr ? text : "unknown error"));
  e.rep_->err = err;
  return e;
}

Error&& Error::Context(std::string_view doing) && {
  rep_->message.insert(0, std::string(doing) + ": ");
  return std::move(*this);
}

Error&& Error::Remedy(std::string_view what_to_do) && {
  if (rep_->remedy.empty()) rep_->remedy = what_to_do;
  return std::move(*this);
}

}  // namespace msb
