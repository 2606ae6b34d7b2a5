-- Freezing and thawing: an entry of the log that leaves the items as they are.
-- KEYS bank, log, channel
-- ARGV 1 '1' or '0', 2 expected head of the log, 3 entry, 4 new head, 5 entries kept
-- -> OK, NONE (no such bank), SAME (it was so before) or STALE
local bank = redis.call('HMGET', KEYS[1], 'ver', 'head', 'frozen')
if not bank[1] then return 'NONE' end
if (bank[3] or '0') == ARGV[1] then return 'SAME' end
if bank[2] ~= ARGV[2] then return 'STALE' end
redis.call('HSET', KEYS[1], 'frozen', ARGV[1], 'head', ARGV[4])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'entry', ARGV[3])
redis.call('PUBLISH', KEYS[3], bank[1])
return 'OK'
