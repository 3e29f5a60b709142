"""Everything around the models, one noun a file.

Videos         videos finds them; folders, films, animations and arrays each decode one kind;
               frames says what a Video is, images reads picture files, libtiff and ogg find
               damage, names gives paths names of their own
Cutting clips  clips has a recipe cut by tasks, spread by workers or a cluster; cutting does one,
               from a reel of frames, by changes, movement and draws; survey and tally count what
               comes; store and shards hold the clips in the layout of Zarr, journal what an
               unfinished run has done
Training       updater takes the steps, trainer runs them; losses and gpu_losses are minimised;
               batches and supply deliver clips, pixels normalises them, graph captures steps
  extensions   log, plots, progress, preview, validation, best, snapshots, divergence, randomness,
               schedule
Testing        rollout predicts, forecast what follows a video's end; trial tests a network on all
               videos; evaluation applies metrics and conventions; report, gallery, pictures and
               leaderboard show the results, cost counts operations
Runs, files    rundir, weights, archive, files, lock
Places         spacing spreads a few evenly: pictures probed, clips shown, windows tested
Commands       usage, errors, signals, memory; device opens one, kernel_trial tries our kernels on
               it; collection for the scripts of data/
"""
