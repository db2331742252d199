@echo off
rem Double-click starter for Windows. Written with care, not yet tried there.
powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%~dp0run.ps1" %*
set "status=%errorlevel%"
rem A window that was opened by a double click closes with its message unread, unless somebody waits.
if not "%status%"=="0" pause
exit /b %status%
