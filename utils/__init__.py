"""Everything around the models, one noun a file.

Videos         frames defines Video; videos finds them; folders, films, animations and arrays decode
               one kind each; film_index counts a film's frames; images reads picture files,
               gaps finds missing ones, times the times in their names; libtiff, ogg and cutoff
               detect damaged files; names makes names unique, digest tells whether files are the
               same
Cutting clips  recipe says what clips to cut; clips cuts them in tasks, on workers or a cluster;
               cutting does one task: reel loads frames, changes and movement measure them, draws
               picks crops; survey and tally count; store, shards, layout and places keep clips as a
               Zarr array, journal what an unfinished run has done
Training       trainer runs the steps of updater, which minimise losses or gpu_losses; batches and
               supply deliver clips, pixels normalises them, graph captures steps as CUDA graphs
  extensions   log, plots, progress, preview, validation, best, snapshots, divergence, randomness,
               schedule
Testing        rollout predicts; forecast predicts what follows a video's end; trial tests a network
               on all videos: windows reads their frames, evaluation applies metrics and
               conventions, report, gallery, pictures, curves, page and leaderboard show what
               comes out, cost counts operations, results replaces an earlier test's files
Runs, files    rundir, record, weights, archive, files, lock
Commands       usage parses options; errors, signals, streams, memory; device opens a GPU,
               kernel_trial tries our kernels on it; collection serves the scripts of data/
Shared         spacing spreads indices evenly; figures imports Matplotlib
"""
