-- Asks for each path of a file once, in their order, until the time or the file is over. One thread's, as wrk runs it.
local paths = {}
at, bad = tonumber(os.getenv("SKIP")), 0 -- read by `done`, in another state
for path in io.lines(os.getenv("WALK")) do paths[#paths + 1] = path end
local walker

setup = function(thread) walker = thread end

request = function()
  at = at + 1
  return wrk.format("GET", paths[math.min(at, #paths)])
end

response = function(status)
  if status ~= 200 then bad = bad + 1 end
end

done = function(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "p95": %d, "bad_status": %d, "broken": %d, "asked": %d}',
    summary.requests, summary.duration, summary.bytes, latency:percentile(95),
    walker:get("bad"), errors.connect + errors.read + errors.write + errors.timeout, walker:get("at")))
end
