//! What a report may lack, in words.

use super::messages;

messages! {
    /// What is missing, weak or cut off.
    pub GapKind {
        /// A log was not verified.
        LogUnverified "{0} was not verified: {1}." "Журнал {0} не проверялся: {1}.";
        /// A log was verified in part.
        LogPartly "{0} was verified in part only: {1}." "Журнал {0} проверен лишь частично: {1}.";
        /// A log has fewer entries than its checkpoint.
        LogShort "{0}: {1} of {2} entries of its checkpoint were read." "Журнал {0}: прочитано строк {1} из {2} по контрольной точке.";
        /// Entries of a log cannot be read.
        Unreadable "{0}: {1} entries cannot be read; the first: {2}." "Журнал {0}: не удалось прочитать строк: {1}; первая: {2}.";
        /// Times of a log go backwards.
        Backwards "{0}: the time goes backwards at {1} entries." "Журнал {0}: время идёт назад; таких строк: {1}.";
        /// A log's origin came twice.
        Double "{0} was given more than once; the longest was read." "Журнал {0} представлен более одного раза; использован самый длинный.";
        /// A log does not reach the end of the period.
        EndsEarly "{0}: its last entry is of {1}, and it has no SEAL; it shows nothing of what came after." "Журнал {0}: последняя строка от {1}, отметки о завершении (SEAL) нет; о более позднем времени он ничего не показывает.";
        /// The key in GENESIS is another.
        OtherKey "{0}: GENESIS names another log key than the one it was given with." "Журнал {0}: в строке GENESIS указан иной ключ проверки, чем представленный.";
        /// A log does not begin with GENESIS.
        NoGenesis "{0} does not begin with a GENESIS entry." "Журнал {0} не начинается со строки GENESIS.";
        /// A period follows an accepted loss or a restore.
        Loss "{0} begins after another log: {1}. Records lost or restored in between may be counted wrongly." "Журнал {0} начат после другого журнала: {1}. Записи, утраченные или восстановленные между ними, могут быть учтены неверно.";
        /// The log before was not given.
        OldLogMissing "{0} follows {1}, which was not given: records from before are not counted." "Журнал {0} продолжает журнал {1}, который не представлен: прежние записи не учтены.";
        /// The log before is longer than the head from which the new one goes on.
        OldLogLonger "{0} goes on from {1} at {2} entries, whose checkpoint has {3}: the entries in between were not carried on." "Журнал {0} продолжает журнал {1} со строки {2}, хотя в его контрольной точке строк: {3}; строки между ними не продолжены.";
        /// A map that entries name was not given.
        MapMissing "Entries name map {0} with digest {1}, which was not given." "Строки ссылаются на карту версии {0} с хешем {1}, которая не представлена.";
        /// A map cannot be used.
        MapUnusable "Map {0} with digest {1} cannot be used: {2}." "Карта версии {0} с хешем {1} не может быть использована: {2}.";
        /// A map was given without signers.
        MapUnsigned "Map {0} with digest {1} was given without a verified signature." "Карта версии {0} с хешем {1} представлена без проверенной подписи.";
        /// Two maps of one number.
        MapFork "There is more than one map of the number {0}." "Карт с номером версии {0} больше одной.";
        /// A region without a log.
        RegionWithoutLog "No log of region {0} was given, which the maps name." "Журналы региона {0}, указанного в картах, не представлены.";
        /// A region that no map has.
        RegionUnknown "No map that was given names region {0}, of which there are logs." "Регион {0}, журналы которого представлены, не указан ни в одной представленной карте.";
        /// A site of which something is not stated.
        SiteBare "Region {0}: the maps do not state {1}." "Регион {0}: в картах не указано: {1}.";
        /// An attestation that ran out.
        AttestationExpired "Region {0}: the attestation of its location held until {1} and ran out before the period's end." "Регион {0}: подтверждение местонахождения действовало по {1} и истекло до конца периода.";
        /// A law resting on weak facts.
        StatuteWeak "Statute pack {0} rests on facts that are not well verified: {1}." "Пакет норм {0} опирается на недостаточно проверенные сведения: {1}.";
        /// A law that is a draft.
        StatuteDraft "Statute pack {0} is a draft: {1}." "Пакет норм {0} является проектом: {1}.";
        /// A clause that entries rely on and no map has.
        ClauseMissing "Entries rely on clause {0}, which no map that was given has." "Строки ссылаются на условие передачи {0}, которого нет в представленных картах.";
        /// A copy without a first write.
        CopyFirst "Copies whose first write has a later time, by {0}/{1}: {2}." "Копий, у которых время первичной записи позже, в {0}/{1}: {2}.";
        /// Records that went and are not told apart.
        Unstated "Changes whose jurisdictions cannot be told, since the entry they name is not here: {0}. Records live by jurisdiction may be too many." "Изменений, юрисдикции которых не установлены, поскольку указанной строки нет: {0}. Число записей по юрисдикциям может быть завышено.";
        /// Something was cut off at a limit.
        Cut "{0}: a limit of this report was reached; what is beyond is counted under (other) or left out ({1} times)." "{0}: достигнуто ограничение отчёта; остальное учтено в строке (other) или опущено (случаев: {1}).";
        /// The period was cut.
        PeriodCut "The period asked for has more than {0} months; its end was left off." "Запрошенный период длиннее {0} месяцев; его конец отброшен.";
    }
}
