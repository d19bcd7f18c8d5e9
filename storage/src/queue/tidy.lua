-- Notes that a worker lives, by the clock here: what apalis notes is by that of the worker's machine, which may be wrong.
-- Puts back what workers held that are gone, removes all trace of these, and drops tasks that lost a part: apalis' own
-- scripts fail on one, and for ever.
-- KEYS: active list, data hash, prefix of metadata, workers, prefix of workers' sets, prefix of workers' metadata, when each
-- worker was last known to live.
-- ARGV: seconds without a word after which a worker is gone; the name of the one that lives, or nothing; the name of one
-- more that is gone, or nothing.
local function whole(id)
    return redis.call('HEXISTS', KEYS[2], id) == 1 and redis.call('HEXISTS', KEYS[3] .. ':' .. id, 'status') == 1
end

local function drop(id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('DEL', KEYS[3] .. ':' .. id)
end

local now = tonumber(redis.call('TIME')[1])
local before = now - tonumber(ARGV[1])
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[7], now, ARGV[2])
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', before, 'LIMIT', 0, 100)
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', before, 'LIMIT', 0, 100)) do
    -- One of an older version, which notes nothing here.
    if not redis.call('ZSCORE', KEYS[7], worker) then
        table.insert(gone, worker)
    end
end
if ARGV[3] ~= '' then
    table.insert(gone, ARGV[3])
end
for _, worker in ipairs(gone) do
    local held = KEYS[5] .. ':' .. worker
    for _, id in ipairs(redis.call('SMEMBERS', held)) do
        if not whole(id) then
            drop(id)
        elseif not redis.call('LPOS', KEYS[1], id) then
            redis.call('LPUSH', KEYS[1], id)
        end
    end
    redis.call('DEL', held, KEYS[6] .. ':' .. worker)
    redis.call('ZREM', KEYS[4], worker)
    redis.call('ZREM', KEYS[7], worker)
end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, 999)) do
    if not whole(id) then
        redis.call('LREM', KEYS[1], 0, id)
        drop(id)
    end
end
return redis.status_reply('OK')
