-- The only way the items of a bank change: commit, create and restore.
-- KEYS bank, versions, log, fence, channel
-- ARGV 1 token ('' = no lease needed), 2 expected version ('' = none may exist), 3 expected epoch, 4 expected head of
--      the log, 5 commit id, 6 new version, 7 new epoch, 8 header, 9 items, 10 entry, 11 new head, 12 versions kept,
--      13 entries kept
-- -> OK, DUP (this commit id was applied last), FENCED, STALE or FROZEN
local bank = redis.call('HMGET', KEYS[1], 'ver', 'epoch', 'head', 'last', 'frozen')
if bank[4] == ARGV[5] then return 'DUP' end
if ARGV[1] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[1] then return 'FENCED' end
if (bank[1] or '') ~= ARGV[2] or (bank[2] or '') ~= ARGV[3] then return 'STALE' end
if ARGV[1] ~= '' and bank[5] == '1' then return 'FROZEN' end
if (bank[3] or '') ~= ARGV[4] then return 'STALE' end -- frozen and thawed since the entry was made

-- First what needs memory: a full Redis refuses a script only until it has written.
redis.call('HSET', KEYS[1], 'ver', ARGV[6], 'epoch', ARGV[7], 'head', ARGV[11], 'last', ARGV[5],
  'header', ARGV[8], 'items', ARGV[9])
redis.call('HSET', KEYS[2], ARGV[6] .. ':header', ARGV[8], ARGV[6] .. ':items', ARGV[9])

local version = tonumber(ARGV[6])
local oldest = version - tonumber(ARGV[12]) + 1
local gone = string.format('%d', oldest - 1)
redis.call('HDEL', KEYS[2], gone .. ':header', gone .. ':items')
-- To look through all names takes as long as all the rest: where more than one version may have to go, which is after a
-- restore, and now and then, since fewer may be kept than before.
if ARGV[1] == '' or version % 100 == 0 then
  for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
    local kept = tonumber(string.match(name, '^%d+'))
    if kept < oldest or kept > version then redis.call('HDEL', KEYS[2], name) end
  end
end

redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[13], '*', 'entry', ARGV[10])
redis.call('PUBLISH', KEYS[5], ARGV[6])
return 'OK'
