// Lane j's v, for each lane by itself. llvmpipe looks for the first lane at work at every broadcast, not here.
#repeat j LANES
fn shared_$j(v: Value) -> Value { return subgroupShuffle(v, $ju); }
#end
