-- Puts back what workers held that are gone, removes all trace of these, and drops tasks that lost a part: apalis' own
-- scripts fail on one, and for ever.
-- KEYS: active list, data hash, prefix of metadata, workers, prefix of workers' sets, prefix of workers' metadata.
-- ARGV: seconds without a heartbeat after which a worker is gone; the name of one more that is, or nothing.
local function whole(id)
    return redis.call('HEXISTS', KEYS[2], id) == 1 and redis.call('HEXISTS', KEYS[3] .. ':' .. id, 'status') == 1
end

local function drop(id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('DEL', KEYS[3] .. ':' .. id)
end

local before = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', before, 'LIMIT', 0, 100)
if ARGV[2] ~= '' then
    table.insert(gone, ARGV[2])
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
end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, 999)) do
    if not whole(id) then
        redis.call('LREM', KEYS[1], 0, id)
        drop(id)
    end
end
return redis.status_reply('OK')
