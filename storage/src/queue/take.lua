-- Forgets a task that was handed over, unless it was pushed again meanwhile.
-- KEYS: active list, data hash, prefix of metadata, the worker's set of tasks. ARGV: id of the task.
local id = ARGV[1]
if redis.call('SREM', KEYS[4], id) == 1 and not redis.call('LPOS', KEYS[1], id) then
    redis.call('HDEL', KEYS[2], id)
    redis.call('DEL', KEYS[3] .. ':' .. id)
end
return redis.status_reply('OK')
