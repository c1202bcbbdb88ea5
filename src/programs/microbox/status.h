// SPDX-License-Identifier: Apache-2.0
// --status-fd: one JSON object and a newline at the end, of what was in force and how it ended.

#pragma once

#include <string>

#include "base/result.h"
#include "programs/microbox/supervise.h"

namespace msb::microbox {

// {"version":1,"name":..,"isolation":"process","walls":[..],"seccomp":"enforced","label":null,
//  "ids":"..","unmapped":[..],"limits":[..],"network":{"mode":"none"},
//  "refused":[{"call":"socket","arguments":"family=AF_ALG","error":"EAFNOSUPPORT","count":2,
//  "learnt":false}],"refused_others":0,
//  "exit":{"kind":"exited","code":0,"signal":null},
//  "usage":{"memory_peak_bytes":..,"cpu_us":..,"duration_ms":..}}; what is not known is null.
std::string StatusRecord(const Options& options, const box::Facts& facts,
                         const NetworkFacts& network, const Ending& ending,
                         const std::optional<box::RefusalTable>& refused);
// {"version":1,"exit":{"kind":"not-started","code":125,"signal":null},"error":{..}}
std::string StatusRecord(const Error& error, int code);

}  // namespace msb::microbox
