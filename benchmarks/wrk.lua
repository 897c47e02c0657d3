-- wrk's own report has no 95th percentile; this adds a last line of JSON. Latencies are in microseconds.
done = function(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "p95": %d, "bad_status": %d, "broken": %d}',
    summary.requests, summary.duration, summary.bytes, latency:percentile(95),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
