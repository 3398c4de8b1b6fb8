-- Keeps streams that were appended to in the same transaction as long as they may be.
for _, target in ipairs(targets) do target.added = true end
trim_all()
return 'OK'
