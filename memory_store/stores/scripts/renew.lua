-- KEYS lease, fence   ARGV holder, token, ttl in ms   -> 1, or 0 if it is not the holder's any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
