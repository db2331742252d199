# Starter for Windows: .\packaging\run.ps1 [arguments of ddpm-studio]
# Written with care, not yet tried there. All but finding Python is bootstrap.py's.

# A name that is there may still be the stub of the Microsoft Store, so each is asked for its version.
$candidates = @(@('py', '-3'), @('py', '-3.13'), @('py', '-3.12'), @('py', '-3.11'), @('python'), @('python3'))
$bootstrap = Join-Path $PSScriptRoot 'bootstrap.py'

foreach ($candidate in $candidates) {
    $name = $candidate[0]
    $options = @($candidate | Select-Object -Skip 1)
    if (-not (Get-Command $name -CommandType Application -ErrorAction SilentlyContinue)) { continue }
    & $name @options -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>$null
    if ($LASTEXITCODE -ne 0) { continue }
    & $name @options -I $bootstrap run @args
    exit $LASTEXITCODE
}

[Console]::Error.WriteLine('DDPM Studio needs Python 3.11 or newer; this installs it: winget install Python.Python.3.13')
exit 1
