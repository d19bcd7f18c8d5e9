-- Puts a task into the list that apalis takes from, and wakes who waits for one.
-- KEYS: active list, data hash, prefix of metadata, channel. ARGV: id of the task, what travels.
local id = ARGV[1]
if redis.call('HEXISTS', KEYS[2], id) == 1 and redis.call('LPOS', KEYS[1], id) then
    return 0
end
redis.call('HSET', KEYS[2], id, ARGV[2])
redis.call('HSET', KEYS[3] .. ':' .. id, 'attempts', 0, 'max_attempts', 1, 'status', 'Pending')
redis.call('RPUSH', KEYS[1], id)
redis.call('PUBLISH', KEYS[4], '')
return 1
