/* What kind of build this is. Runs in every process. */
#pragma once
#include <stdbool.h>

/* Builds with AddressSanitizer: the sandbox leaves out what would silence its reports (ARCHITECTURE.md, "The sandbox"). */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif
