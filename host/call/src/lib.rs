//! One actor per call that ties leg, engine, script and record together.
