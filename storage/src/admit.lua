-- Counts so many requests by the generic cell rate algorithm, or none of them where there is no room.
-- KEYS: when the bucket will be full again. ARGV: microseconds of one request, requests at once, requests counted.
-- Returns whether they are counted, and how many more may follow, or the microseconds until as many may come.
local interval, burst, several = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + several * interval
local most = now + burst * interval
if full > most then
    return {0, full - most}
end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, math.floor((most - full) / interval)}
