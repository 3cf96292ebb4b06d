// SPDX-License-Identifier: Apache-2.0
// The only place that reads environment variables.
//   CLMLA_PROGRAM_CACHE   a folder for program binaries, or "off"
//   CLMLA_TUNING          a file of tuned numbers, or "off"
//   XDG_CACHE_HOME, HOME, LOCALAPPDATA   where the user's cache folder is
#ifndef HOST_ENV_H
#define HOST_ENV_H

// NULL when unset or empty. Valid until the environment changes.
const char *host_env_program_cache(void);
const char *host_env_tuning(void);
const char *host_env_xdg_cache_home(void);
const char *host_env_home(void);
const char *host_env_local_app_data(void);

#endif
