-- KEYS bank, channel   ARGV '1' or '0'   -> 1, or 0 if there is no such bank
local version = redis.call('HGET', KEYS[1], 'ver')
if not version then return 0 end
redis.call('HSET', KEYS[1], 'frozen', ARGV[1])
redis.call('PUBLISH', KEYS[2], version)
return 1
